"""Signing in at Supabase Auth (L2), for real: sign-up, password, renewal, sign-out everywhere."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from credits_core import errors
from credits_core.db.port import Database, Identity, user_identity
from credits_core.db.supabase_auth import SupabaseAuth
from tests.contract.conftest import identity_of


@dataclass(frozen=True)
class SignedUp:
    email: str
    password: str


@pytest.fixture
def somebody(auth: SupabaseAuth) -> SignedUp:
    made = SignedUp(f"{secrets.token_hex(6)}@example.test", secrets.token_urlsafe(12))
    assert auth.sign_up(made.email, made.password, "Some Body") is not None
    return made


def test_l2_signing_up_opens_an_account(auth: SupabaseAuth, somebody: SignedUp, db: Database) -> None:
    """B1: the account is there from the first moment, empty."""
    me = identity_of(auth.sign_in(somebody.email, somebody.password))
    assert db.call("me", me)["email"] == somebody.email
    assert db.call("balance", me)["available_micros"] == 0


def test_i4_the_role_reaches_the_token_from_app_metadata_only(
    sign_up: Callable[..., Identity], auth: SupabaseAuth, somebody: SignedUp, db: Database
) -> None:
    """I4: what people can write themselves (user_metadata, a role claim) gives no rights."""
    assert db.call("me", sign_up(role="admin"))["role"] == "admin"
    signed_in = auth.sign_in(somebody.email, somebody.password)
    cheat = {**signed_in.claims, "role": "service_role", "user_metadata": {"role": "admin"}}
    assert user_identity(cheat).role == "authenticated"
    assert db.call("me", user_identity(cheat, signed_in.access_token))["role"] == "holder"


def test_k3_a_wrong_password_and_an_unknown_person_look_alike(auth: SupabaseAuth, somebody: SignedUp) -> None:
    sentences = set()
    for email, password in (
        (somebody.email, "wrong"),
        ("nobody@example.test", somebody.password),
        ("", ""),
        ("no address", "x"),
    ):
        with pytest.raises(errors.NotSignedIn) as caught:
            auth.sign_in(email, password)
        sentences.add(str(caught.value))
    assert len(sentences) == 1


def test_l2_a_session_is_renewed_and_its_old_token_used_up(
    auth: SupabaseAuth, somebody: SignedUp, db: Database
) -> None:
    first = auth.sign_in(somebody.email, somebody.password)
    assert first.refresh_token
    second = auth.refresh(first.refresh_token)
    assert second.refresh_token != first.refresh_token
    assert db.call("me", identity_of(second))["email"] == somebody.email


def test_k3_signing_out_ends_every_session(auth: SupabaseAuth, somebody: SignedUp) -> None:
    laptop, phone = (auth.sign_in(somebody.email, somebody.password) for _ in range(2))
    assert laptop.access_token and phone.refresh_token
    auth.sign_out(laptop.access_token)
    with pytest.raises(errors.NotSignedIn, match="ended"):
        auth.refresh(phone.refresh_token)
    auth.sign_out(laptop.access_token)
    auth.sign_out("not a token")


def test_l2_signing_up_twice_or_with_a_weak_password_says_what_to_do(
    auth: SupabaseAuth, somebody: SignedUp
) -> None:
    with pytest.raises(errors.InvalidRequest, match="sign in instead"):
        auth.sign_up(somebody.email, somebody.password, "Again")
    with pytest.raises(errors.InvalidRequest, match="longer"):
        auth.sign_up("new@example.test", "abc", "Short")


def test_l5_no_answer_is_no_wrong_password() -> None:
    nobody_home = SupabaseAuth("http://127.0.0.1:9", "key")
    with pytest.raises(errors.DatabaseUnavailable):
        nobody_home.sign_in("a@example.test", "password")
    nobody_home.close()
