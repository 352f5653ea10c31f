"""Who may do what in the database (K1, K2): every right is listed here by hand; a new one fails until it is added."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.sql.conftest import Call, Clock, Person, Rows

# Execute rights. Functions for people check roles and ownership themselves: tested in test_roles.py and test_isolation.py.
EVERYBODY = """
    health packages plans pricing subscription_plans
    _allowances_of _price_of_plan
    _actor _affordable _billed _claims _components _is_staff _iso _now _page_size _price_at _quantity_ok
    _raise _rate _rate_price _require _role _round _user_id
"""
# Functions for the staff, which refuse account holders: test_isolation.py holds them against this list.
STAFF = """
    _last_migration accept_difference accounts_list acknowledge_operations_alert adjust adjust_preview approval_limits approvals
    approvals_count audit begin_repair campaigns catalog_draft checkout_funnel cohorts create_campaign decide_approval
    decide_referral decide_refund decide_review discard_catalog_draft draft_change extend_grant finance_overview find_account
    flag_list flag_reach jobs_status margins operations_alerts payment payment_currencies payments
    reconciliation_differences reconciliations
    recurring_revenue referral_program referrals refund_preview rehearse_catalog_draft rehearse_prices reopen_stripe_event
    request_catalog_release request_job request_price_change request_refund retention revenue_by_month reverse sales
    set_approval_limit set_flag set_flag_account set_plan set_price set_provider_cost set_referral_program set_retention
    start_reconciliation stripe_event stripe_events switch_campaign system_status usage_by_account
"""
# Functions that account holders may call: they are told and given what is theirs, or nothing; and helpers that those call.
SIGNED_IN = (
    STAFF
    + """
    account_detail account_overview account_settings alerts api_keys balance
    balance_as_of call call_by_key calls capture_hold check_use create_api_key create_purchase end_call explain
    extend_hold heartbeat hold limits
    mark_alerts_read me place_hold purchase purchase_quote purchase_status purchases
    release_hold revoke_api_key set_account_settings set_cap
    start_call transactions unread_alerts usage_analytics use use_batch
    add_notice_target change_notice_target deliveries delivery notice_settings remove_notice_target resend_delivery
    rotate_target_secret send_test_notice set_email_choices
    auto_reload card_payments customer refunds
    set_auto_reload switch_auto_reload
    live_calls run_out_forecast usage_report
    portal_customer statement statement_purchases statements
    _posted_before _statement_month _statement_movements _statement_payments _statement_purchases
    create_subscription request_subscription_change subscription
    _change_terms _choice _left_of_subscription _renewal_grace _subscription_json
    auto_reload_preview
    _account _allowance _allowance_left _anchored _api_key_id _bigint _bucket _call_answer
    _attempt_of_message_json _message_json
    _call_covers_seconds _call_json _call_limits _cap_left _cap_reached _change_percent _charge_error
    _check_adjustment _check_days _closing_balances _cursor _hold_json _level _month_so_far _overview_days
    _own_account _period _purchase_answer _purchase_json _raise_charge_error _refunded _require_scope _run_out _sales
    _draft_json _check_months _recurring_at _utc_day
    _attempt_json _campaign_json _left_of_purchase _owner_only _paid_cents _refund_json
    _consents _next_reload _reload_figures _reload_refusal _suggested_terms
    _refund_limit_cents _refund_terms _reload_price _reloaded_cents _seq_before _settings _spendable
    _timestamptz _today _top_accounts _transaction_json _usage_days _usage_json _uuid _would_draw _zone
    claim_referral referral
    _kept_cents _program_json _referral_json _referral_status _reward_at_stake
    _bucket_start _call_pays _days_covered _expiring _lasts _live_call _past_forecast _spend_model _spend_path
    _t_eight_in_ten _usage_cut _weekly_model
    _difference_json _reconciliation_json
    _operations_alert_json _stripe_event_json _without_secrets
    _needs_approval _payment_json _person_name
    flags _campaign_state _flag_bucket _flag_is_on _flag_json
"""
)
SERVICE_ALONE = """
    prune
    apply_catalog_releases
    authenticate_api_key claim_job create_demo_user create_session detect_alerts expire_grants expire_holds
    fail_purchase finish_job finish_stripe_event fulfill_purchase load_catalog open_purchase
    purchases_to_poll record_stripe_event report_call revoke_session rollup_usage session set_stripe_price
    settle_abandoned_calls update_session user_by_email verify
    claim_deliveries finish_delivery tell_expiring
    claim_auto_reloads claim_refunds converge_purchase finish_auto_reload purchase_of_payment record_refund
    set_customer
    claim_operations_alerts detect_operations untell_operations
    claim_reconciliation fail_reconciliation finish_reconciliation finish_repair reconciliation_lookups stage_reconciliation
    fail_subscription finish_subscription_change invoices_credited open_subscription set_subscription_price
    settle_invoice subscriptions_to_poll sync_subscription
    claim_reviews finish_review settle_review
"""
NOBODY = """
    _begin_month _close_subscription _end_of_grant _invoice_as_session _invoice_mismatch _invoice_waits _keep_of_grant
    _load_subscription_plans _period_paid _request_json _roll_over _subscription_changed
    _subscription_mismatch _subscription_of _switch_allowances _tell_changes
    _acting_for _add_price _api_key_json _apply_code _approve_refund _check_refund _claw_back _converge_dispute
    _code_uses _pause_after _pause_refunded _refunded_alone
    _converge_refund _dispute_is_short _draw_purchase _follow_redemption _open_attempt _pause_reload _purchase_terms _recover_debt
    _replayed_purchase _return_recovered _share_of_purchase _undo _append_only _apply_gates _audit _batch_result
    _book_expired _capture_answer _charge _charge_carefully _charge_together _check_call_text _check_hold_time
    _check_key _check_operations _close_call _close_ledger _close_reported _close_unconnected _count_spend _counted _credit_purchase
    _debt_of_holds _draw _drawn _empty_hold _expired_of _give_allowance _grant _grow_hold _hold_event
    _hold_first_slice _hold_next_slice _hold_nothing _load_plans _lock_call _lock_hold _merge_draws _most_available
    _open_ledger _purchase_mismatch _raise_bad_call _raise_hold_closed _read_events _record _refresh_limits
    _reopen_call _rehearse _rehearse_draft _release _replay _settle_call _settle_hold _spent_between _sync_user
    _email_on _take_allowance _tell _tell_allowances _tell_reload _transaction_answer _undraw _unknown_call
    _follow_referral _give_reward _invited_json _lock_with_referrer _mailbox _masked _month_of_rewards _referral_code
    _referral_hold _referral_refusal _return_reward _reward_referral _rewards_left _take_reward
    _check_kinds _check_target_name _give_up _hold_back _judge_target _lock_target _retry_rules _sending_json
    _target_json _tell_purchase _tell_refund
    _daily_reconciliation _find_charges _find_disputes _find_fees _find_payouts _find_refunds _find_uncredited _find_unpaid
    _is_repaired _keep_entries _keep_fees _match_items _open_difference _paid_charges _reconciliation_totals _record_findings
    _running_reconciliation
    _job_conditions _operations_rules _payment_conditions _payment_failures _queue_conditions _usage_conditions
    _approval_json _ask _ask_for_adjustment _back_to_review _book_adjustment _check_decision _check_review _credit_reviewed
    _apply_release _check_draft_item _do_catalog_release _forget_stripe_price _open_draft
    _do_adjustment _do_price_change _do_review _keep _change_price _price_before _use_catalog _own_request _payment_timeline
    _refund_as_approval _refund_until
    _belongs_to _check_promise _kept_since _is_own _refund_waits
    _alone _do_extension _do_reversal _in_credits _left_to_extend _move _moved_alone _too_much_alone _try _waiting_answer
    _require_person _review_json _review_terms
    _actor_json _audit_actions
"""
RIGHTS = {
    ("anon", "authenticated", "service_role"): EVERYBODY,
    ("authenticated", "service_role"): SIGNED_IN,
    ("service_role",): SERVICE_ALONE,
    (): NOBODY,
}
# Tables that anybody may read, those whose rows only staff see, and those nobody reads at all; all others show people their own.
PUBLIC_TABLES = (
    "catalogs notice_kinds operations packages plan_allowances plans price_components prices subscription_plans"
    " subscription_prices"
).split()
STAFF_TABLES = """
    alert_state audit_log campaigns expiry_notices jobs package_stripe provider_costs stripe_events
    referral_codes referral_program referrals reconciliation_differences reconciliations stripe_entries stripe_payouts
    operations_alerts
    approval_limits approvals
    flag_accounts flags retention catalog_drafts usage_days usage_totals
""".split()
CLOSED_TABLES = "api_keys notice_targets reconciliation_items sessions".split()


def test_every_execute_right_is_one_that_was_meant(owner_sql: Callable[..., Rows]) -> None:
    """K2: default deny; each function of the schema stands in the lists above, once, with exactly these rights."""
    rows = owner_sql(
        "select proname as name, array(select role from unnest(array['anon', 'authenticated', 'service_role']) as role"
        " where has_function_privilege(role, p.oid, 'execute')) as roles from pg_proc as p"
        " where pronamespace = 'credits'::regnamespace order by 1"
    )
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)), "two functions of one name cannot be told apart by a caller"
    expected = {name: list(roles) for roles, listed in RIGHTS.items() for name in listed.split()}
    assert {row["name"]: row["roles"] for row in rows} == expected
    assert len(expected) == sum(len(listed.split()) for listed in RIGHTS.values())


def test_public_has_no_rights_at_all(owner_sql: Callable[..., Rows]) -> None:
    """K2: neither on functions nor on tables; a new login role starts with nothing."""
    assert (
        owner_sql(
            "select p.oid::regprocedure::text as name from pg_proc as p, aclexplode(p.proacl) as a"
            " where p.pronamespace = 'credits'::regnamespace and a.grantee = 0"
        )
        == []
    )
    assert (
        owner_sql(
            "select c.relname from pg_class as c, aclexplode(c.relacl) as a"
            " where c.relnamespace = 'credits'::regnamespace and a.grantee = 0"
        )
        == []
    )


def test_every_function_has_a_fixed_search_path_and_the_definers_are_api(
    owner_sql: Callable[..., Rows],
) -> None:
    """K2: nobody puts a table of their own in front of ours; what runs as the owner checks who is calling."""
    functions = owner_sql(
        "select proname as name, prosecdef as definer, prosrc as source, coalesce(proconfig::text, '') as settings"
        " from pg_proc where pronamespace = 'credits'::regnamespace"
    )
    assert [f["name"] for f in functions if 'search_path=\\"\\"' not in f["settings"]] == []
    checks = tuple(
        f"credits.{check}("
        for check in ("_require", "_account", "_lock_hold", "_lock_call", "_lock_target", "_owner_only")
    )
    unchecked = {
        f["name"] for f in functions if f["definer"] and not any(check in f["source"] for check in checks)
    }
    # the row policies' own question, the account check itself, and the trigger of Auth
    assert unchecked == {"_own_account", "_account", "_sync_user"}


def test_every_table_has_row_level_security(owner_sql: Callable[..., Rows]) -> None:
    """K1: and every view looks with the eyes of who asks."""
    assert (
        owner_sql(
            "select relname from pg_class where relnamespace = 'credits'::regnamespace and relkind in ('r', 'p')"
            " and not relrowsecurity"
        )
        == []
    )
    assert (
        owner_sql(
            "select relname from pg_class where relnamespace = 'credits'::regnamespace and relkind in ('v', 'm')"
            " and not coalesce('security_invoker=true' = any (reloptions), false)"
        )
        == []
    )


def test_no_role_of_the_api_writes_any_table(owner_sql: Callable[..., Rows]) -> None:
    """K1, B1: everything is written by functions; who may read what stands above."""
    rights = owner_sql(
        "select c.relname as name, role, privilege"
        " from pg_class as c, unnest(array['anon', 'authenticated', 'service_role']) as role,"
        " unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger', 'maintain']) as privilege"
        " where c.relnamespace = 'credits'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')"
        " and (has_table_privilege(role, c.oid, privilege)"
        "      or privilege in ('insert', 'update', 'references') and has_any_column_privilege(role, c.oid, privilege))"
    )
    assert {right["privilege"] for right in rights} == {"select"}
    assert sorted(right["name"] for right in rights if right["role"] == "anon") == PUBLIC_TABLES
    tables = {
        row["relname"]
        for row in owner_sql(
            "select relname from pg_class where relnamespace = 'credits'::regnamespace and relkind in ('r', 'v')"
        )
    }
    for role in ("authenticated", "service_role"):
        assert tables - {right["name"] for right in rights if right["role"] == role} == set(CLOSED_TABLES)
    (create,) = owner_sql(
        "select bool_or(has_schema_privilege(role, 'credits', 'create')) as any"
        " from unnest(array['anon', 'authenticated', 'service_role', 'authenticator']) as role"
    )
    assert create == {"any": False}


def reconcile_once(service: Call, clock: Clock) -> None:
    """A payout without movements: one difference."""
    number = {
        "reconciliation_id": service("claim_reconciliation", livemode=False, daily_days=7)[
            "reconciliation_id"
        ]
    }
    at = int(clock.now.timestamp()) - 3600
    payout = {
        "id": "po_1",
        "amount_cents": 5,
        "currency": "usd",
        "status": "paid",
        "created": at,
        "arrival_date": at,
    }
    entry = {"id": "txn_1", "category": "charge", "amount_cents": 5, "fee_cents": 0, "net_cents": 5, "currency": "usd",
             "created": at, "available_on": at}  # fmt: skip
    service("stage_reconciliation", kind="payout", items=[payout], **number)
    service("stage_reconciliation", kind="entry", items=[entry], **number)
    assert service("finish_reconciliation", **number)["found"] == 1


def test_staff_tables_show_nothing_to_people(
    clock: Clock,
    holder: Callable[..., Person],
    person: Callable[..., Person],
    give: Call,
    service: Call,
    as_person: Call,
) -> None:
    """K1: row by row, by the policies alone."""
    anna, finance = holder("1.00"), person("finance")
    names = {"catalog": "voice", "package": "usd_5", "product_id": "p", "price_id": "q", "livemode": False}
    service("set_stripe_price", **names)
    service("claim_job", job="poll", every_seconds=60, runner="r")
    service("record_stripe_event", event_id="evt_1", type="x", livemode=False, payload={})
    service("set_provider_cost", operation="call", cost_cents=1)
    service("detect_alerts")
    give(anna, "1.00", expires_at=clock.now + timedelta(days=1))
    service("tell_expiring")
    service("create_campaign", code="TEN", name="Ten", kind="bonus_percent", amount=10)
    terms = {"referrer_micros": 1, "referee_micros": 1, "min_purchase_cents": 1, "open_days": 1}
    service("set_referral_program", on=True, **terms)
    service("set_flag_account", key="invitations", account_id=anna.account_id, on=True)
    holder().call("claim_referral", code=anna.call("referral")["code"])
    reconcile_once(service, clock)
    assert service("detect_operations", jobs={})["opened"] == 1
    price = {"operation": "call", "components": [{"unit": "minute", "price_micros": 1}]}
    service("request_price_change", change=price, reason="for a test", idempotency_key="c")
    service("draft_change", kind="price", code="call", item=price)
    anna.use("call", 60)
    service("rollup_usage")
    for table in STAFF_TABLES:
        for somebody, sees in [(anna, False), (finance, True)]:
            rows = as_person(somebody.identity, f"select to_jsonb(t) from credits.{table} as t")
            assert (table, len(rows) > 0) == (table, sees)
