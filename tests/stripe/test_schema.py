"""The simulator is honest: what it takes and answers is what the installed stripe-python says of Stripe."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from stripe._api_version import _ApiVersion

from credits_core.stripe_sim import API_KEY, params
from credits_core.stripe_sim import params_billing as billed
from credits_core.stripe_sim.endpoints import ENDPOINTS
from credits_core.stripe_sim.events import API_VERSION
from tests.stripe import schema
from tests.stripe.conftest import CANCEL, SUCCESS

PARAMETERS = {
    "_product_create_params.ProductCreateParams": params.PRODUCT_CREATE,
    "_product_update_params.ProductUpdateParams": params.PRODUCT_UPDATE,
    "_product_list_params.ProductListParams": params.PRODUCT_LIST,
    "_price_create_params.PriceCreateParams": params.PRICE_CREATE,
    "_price_update_params.PriceUpdateParams": params.PRICE_UPDATE,
    "_price_list_params.PriceListParams": params.PRICE_LIST,
    "_customer_create_params.CustomerCreateParams": params.CUSTOMER_CREATE,
    "_customer_update_params.CustomerUpdateParams": params.CUSTOMER_UPDATE,
    "_customer_list_params.CustomerListParams": params.CUSTOMER_LIST,
    "_customer_payment_method_list_params.CustomerPaymentMethodListParams": params.METHODS_OF_CUSTOMER,
    "_payment_method_list_params.PaymentMethodListParams": params.METHOD_LIST,
    "_payment_method_attach_params.PaymentMethodAttachParams": params.METHOD_ATTACH,
    "_payment_method_detach_params.PaymentMethodDetachParams": params.EXPAND,
    "_setup_intent_list_params.SetupIntentListParams": params.SETUP_LIST,
    "_refund_update_params.RefundUpdateParams": params.REFUND_UPDATE,
    "_dispute_update_params.DisputeUpdateParams": params.DISPUTE_UPDATE,
    "_dispute_close_params.DisputeCloseParams": params.EXPAND,
    "_subscription_create_params.SubscriptionCreateParams": billed.SUBSCRIPTION_CREATE,
    "_subscription_update_params.SubscriptionUpdateParams": billed.SUBSCRIPTION_UPDATE,
    "_subscription_cancel_params.SubscriptionCancelParams": billed.SUBSCRIPTION_CANCEL,
    "_subscription_list_params.SubscriptionListParams": billed.SUBSCRIPTION_LIST,
    "_invoice_list_params.InvoiceListParams": billed.INVOICE_LIST,
    "_invoice_pay_params.InvoicePayParams": billed.INVOICE_PAY,
    "_invoice_void_invoice_params.InvoiceVoidInvoiceParams": params.EXPAND,
    "_invoice_payment_list_params.InvoicePaymentListParams": billed.INVOICE_PAYMENT_LIST,
    "billing_portal._session_create_params.SessionCreateParams": billed.PORTAL_CREATE,
    "_coupon_create_params.CouponCreateParams": billed.COUPON_CREATE,
    "_coupon_list_params.CouponListParams": billed.COUPON_LIST,
    "_promotion_code_create_params.PromotionCodeCreateParams": billed.CODE_CREATE,
    "_promotion_code_update_params.PromotionCodeUpdateParams": billed.CODE_UPDATE,
    "_promotion_code_list_params.PromotionCodeListParams": billed.CODE_LIST,
    "_balance_transaction_list_params.BalanceTransactionListParams": billed.BALANCE_LIST,
    "_payout_list_params.PayoutListParams": billed.PAYOUT_LIST,
    "checkout._session_create_params.SessionCreateParams": params.SESSION_CREATE,
    "checkout._session_list_params.SessionListParams": params.SESSION_LIST,
    "checkout._session_line_item_list_params.SessionLineItemListParams": params.PAGE,
    "checkout._session_expire_params.SessionExpireParams": params.EXPAND,
    "_payment_intent_create_params.PaymentIntentCreateParams": params.INTENT_CREATE,
    "_payment_intent_confirm_params.PaymentIntentConfirmParams": params.INTENT_CONFIRM,
    "_payment_intent_cancel_params.PaymentIntentCancelParams": params.INTENT_CANCEL,
    "_payment_intent_list_params.PaymentIntentListParams": params.INTENT_LIST,
    "_refund_create_params.RefundCreateParams": params.REFUND_CREATE,
    "_refund_list_params.RefundListParams": params.OF_PAYMENT_LIST,
    "_dispute_list_params.DisputeListParams": params.OF_PAYMENT_LIST,
    "_charge_list_params.ChargeListParams": params.CHARGE_LIST,
    "_event_list_params.EventListParams": params.EVENT_LIST,
}


class Api:
    """Raw calls to the simulator's API."""

    def __init__(self, base: str) -> None:
        self.http = httpx.Client(base_url=f"{base}/v1/", headers={"Authorization": f"Bearer {API_KEY}"})

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self.http.get(path, params=query).raise_for_status().json()

    def post(self, path: str, **form: Any) -> dict[str, Any]:
        return self.http.post(path, data=form).raise_for_status().json()


@pytest.fixture
def api(base: str) -> Iterator[Api]:
    found = Api(base)
    yield found
    found.http.close()


@pytest.fixture
def session(api: Api) -> dict[str, Any]:
    return api.post(
        "checkout/sessions",
        **{
            "mode": "payment",
            "success_url": SUCCESS,
            "cancel_url": CANCEL,
            "client_reference_id": "p1",
            "metadata[purchase_id]": "p1",
            "customer_email": "holder@demo.test",
            "adaptive_pricing[enabled]": "false",
            "consent_collection[terms_of_service]": "required",
            "custom_text[terms_of_service_acceptance][message]": "I agree to the terms.",
            "invoice_creation[enabled]": "true",
            "invoice_creation[invoice_data][description]": "Credits",
            "line_items[0][quantity]": 2,
            "line_items[0][price_data][currency]": "usd",
            "line_items[0][price_data][unit_amount]": 500,
            "line_items[0][price_data][product_data][name]": "Credits",
        },
    )


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_stripes_own(name: str) -> None:
    module, _, cls = name.rpartition(".")
    typed = getattr(importlib.import_module(f"stripe.params.{module}"), cls)
    given = {key.rstrip("!"): kind for key, kind in PARAMETERS[name].items()}
    required = {f"{key}!": kind for key, kind in given.items() if f"{key}!" in PARAMETERS[name]}
    assert schema.params_problems(typed, PARAMETERS[name], cls) == [], required


def test_no_endpoint_takes_what_is_not_compared() -> None:
    compared = list(PARAMETERS.values())
    assert [e.path.pattern for e in ENDPOINTS if e.spec not in compared and e.spec != params.EXPAND] == []


def test_api_version_is_the_librarys() -> None:
    assert API_VERSION == _ApiVersion.CURRENT


def test_a_paid_session_and_all_its_parts_have_stripes_shape(
    api: Api, control: Callable[..., Any], session: dict[str, Any]
) -> None:
    assert schema.object_problems(session) == []
    control(f"sessions/{session['id']}/pay", card="4242424242424242")
    paid = api.get(
        f"checkout/sessions/{session['id']}",
        **{"expand[]": ["line_items.data.price.product", "payment_intent.latest_charge.refunds", "invoice"]},
    )
    assert schema.object_problems(paid) == []
    assert paid["payment_intent"]["latest_charge"]["status"] == "succeeded"
    assert paid["line_items"]["data"][0]["price"]["product"]["name"] == "Credits"
    assert paid["consent"]["terms_of_service"] == "accepted"
    assert (paid["invoice"]["status"], paid["invoice"]["total"]) == ("paid", paid["amount_total"])


@pytest.mark.parametrize("card", ["4000000000000002", "4000000000009995", "4000002500003155"])
def test_a_failed_attempt_has_stripes_shape(
    api: Api, control: Callable[..., Any], session: dict[str, Any], card: str
) -> None:
    error = control(f"sessions/{session['id']}/pay", expect=402, card=card, challenge="fail")["error"]
    assert schema.class_problems(schema.resource("payment_intent"), error["payment_intent"], "error") == []
    assert error["type"] == "card_error"
    again = api.get(f"checkout/sessions/{session['id']}", **{"expand[]": "payment_intent"})
    assert schema.object_problems(again) == []
    assert again["status"] == "open"
    assert again["payment_intent"]["last_payment_error"]["message"]


def test_an_intent_awaiting_3d_secure_has_stripes_shape(api: Api) -> None:
    intent = api.post(
        "payment_intents",
        amount=1000,
        currency="eur",
        confirm="true",
        payment_method="pm_card_authenticationRequired",
        return_url="https://shop.test/back",
    )
    assert schema.object_problems(intent) == []
    assert intent["status"] == "requires_action"
    method = api.get(f"payment_intents/{intent['id']}", **{"expand[]": "payment_method"})["payment_method"]
    assert schema.object_problems(method) == []


def test_catalog_customer_refund_and_dispute_have_stripes_shape(
    api: Api, control: Callable[..., Any]
) -> None:
    made = [
        api.post("products", name="Starter", id="credits_x_starter"),
        api.post(
            "prices", product="credits_x_starter", currency="usd", unit_amount=500, lookup_key="starter"
        ),
        api.post("customers", email="holder@demo.test"),
    ]
    intent = api.post(
        "payment_intents", amount=1000, currency="usd", confirm="true", payment_method="pm_card_visa"
    )
    disputed = api.post(
        "payment_intents", amount=700, currency="usd", confirm="true", payment_method="pm_card_createDispute"
    )
    made += [intent, disputed, api.post("refunds", payment_intent=intent["id"], amount=400)]
    made.append(control(f"charges/{disputed['latest_charge']}/dispute"))
    made += [api.get(path) for path in ("products", "prices", "customers", "charges", "refunds", "disputes")]
    assert [problem for body in made for problem in schema.object_problems(body)] == []


def test_every_event_has_stripes_shape_and_a_name_stripe_has(
    api: Api, control: Callable[..., Any], session: dict[str, Any]
) -> None:
    control(f"sessions/{session['id']}/pay", expect=402, card="4000000000000002")
    control(f"sessions/{session['id']}/pay", card="4000000000000259")
    charge = api.get("charges")["data"][0]
    control("clock", advance_seconds=61)  # the dispute falls due
    intent = api.post(
        "payment_intents", amount=1000, currency="usd", confirm="true", payment_method="pm_card_visa"
    )
    api.post("refunds", payment_intent=intent["id"])
    api.post(f"payment_intents/{api.post('payment_intents', amount=900, currency='usd')['id']}/cancel")
    events = control("events")["data"]
    wrong = [
        p
        for event in events
        for body in (event, event["data"]["object"])
        for p in schema.object_problems(body)
    ]
    assert wrong == []
    assert {event["type"] for event in events} <= schema.EVENT_TYPES
    assert {
        "charge.dispute.created",
        "charge.refunded",
        "checkout.session.completed",
        "payment_intent.canceled",
        "payment_intent.payment_failed",
        "payment_intent.succeeded",
    } <= {event["type"] for event in events}
    assert api.get(f"charges/{charge['id']}")["disputed"] is True
    assert api.get(f"events/{events[0]['id']}") == events[0]


def test_errors_have_stripes_shape(base: str) -> None:
    known = set(schema.fields(importlib.import_module("stripe._error_object").ErrorObject))
    headers = {"Authorization": f"Bearer {API_KEY}"}
    for status, answer in {
        401: httpx.get(f"{base}/v1/products"),
        404: httpx.get(f"{base}/v1/products/nope", headers=headers),
        400: httpx.post(f"{base}/v1/products", data={"name": "x", "colour": "red"}, headers=headers),
    }.items():
        assert answer.status_code == status
        assert answer.json()["error"].keys() <= known
        assert answer.headers["request-id"].startswith("req_")
    assert httpx.get(f"{base}/v1/nothing", headers=headers).status_code == 404
    card = {"amount": "900", "currency": "usd", "confirm": "true", "payment_method": "pm_card_chargeDeclined"}
    declined = httpx.post(f"{base}/v1/payment_intents", data=card, headers=headers)
    assert declined.status_code == 402
    assert declined.json()["error"].keys() <= known
    assert declined.json()["error"]["advice_code"] == "try_again_later"


def test_the_schema_check_finds_what_is_wrong(session: dict[str, Any]) -> None:
    for change in (
        {"colour": "red"},
        {"amount_total": "1000"},
        {"status": "done"},
        {"livemode": None},
        {"custom_text": {"x": None}},
    ):
        assert len(schema.object_problems(session | change)) == 1, change
    del session["livemode"]
    assert schema.object_problems(session) == ["checkout.session.livemode: missing"]


def test_the_parameter_check_finds_what_is_wrong() -> None:
    typed = importlib.import_module("stripe.params.checkout").SessionCreateParams
    wrong = {
        "mode": ("payment", "gift"),
        "expires_at": str,
        "metadata": str,
        "line_items": [{"colour": str}],
        "adaptive_pricing": bool,
        "success_url": [str],
        "colour": str,
    }
    found = schema.params_problems(typed, wrong, "params")
    assert len(found) == len(wrong), found
    prices = importlib.import_module("stripe.params").PriceCreateParams
    assert schema.params_problems(prices, {"currency": str}, "params") == [
        "params.currency: required by Stripe"
    ]
