"""Bearer tokens: what proves a caller, and what does not (K3)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from credits_core.auth import tokens
from credits_core.auth.tokens import VerifiedTokens, make_tokens
from credits_core.config import Settings
from credits_core.errors import NotSignedIn
from credits_core.local_secrets import local_secret
from credits_core.runtime import Runtime
from tests.http.conftest import HOLDER, Api, problem

SECRET = "a secret of the project that is long enough"
URL = "https://project.supabase.co"
PERSON = {
    "sub": "00000000-0000-4000-8000-000000000001",
    "role": "authenticated",
    "aud": "authenticated",
    "iss": f"{URL}/auth/v1",
}


def signed(
    claims: dict[str, Any], *, seconds: int = 60, key: Any = SECRET, algorithm: str = "HS256", **headers: Any
) -> str:
    return jwt.encode(
        claims | {"exp": int(time.time()) + seconds}, key, algorithm=algorithm, headers=headers or None
    )


@pytest.fixture
def supabase() -> VerifiedTokens:
    return make_tokens(
        Settings(
            supabase_url=URL,
            supabase_anon_key="anon",
            supabase_jwt_secret=SECRET,
            supabase_service_role_key="sb_secret_x",
        )
    )


def test_no_token_an_odd_one_and_another_scheme(api: Callable[..., Api], token: Callable[..., str]) -> None:
    nobody = api(None)
    problem(nobody.get("balance"), 401, "not_signed_in")
    for value in (b"x", b"a.b.c", "é".encode(), b"x" * 20_000):
        nobody.headers = {"Authorization": b"Bearer " + value}
        problem(nobody.get("balance"), 401, "not_signed_in")
    nobody.headers = {"Authorization": f"Basic {token(HOLDER)}"}
    answer = nobody.get("balance")
    problem(answer, 401, "not_signed_in")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_an_expired_token(api: Callable[..., Api], token: Callable[..., str]) -> None:
    old = Api(api(None).client, token(HOLDER, seconds=-60))
    assert "expired" in problem(old.get("balance"), 401, "not_signed_in")["message"]


def test_a_token_signed_by_somebody_else_or_by_nobody(
    api: Callable[..., Api], token: Callable[..., str]
) -> None:
    good = token(HOLDER)
    head, body, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    admin = (
        base64.urlsafe_b64encode(json.dumps(claims | {"app_metadata": {"role": "admin"}}).encode())
        .rstrip(b"=")
        .decode()
    )
    forged = [
        signed(claims, key="x" * 40),
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{admin}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
    ]
    for attempt in forged:
        problem(Api(api(None).client, attempt).get("balance"), 401, "not_signed_in")


@pytest.mark.parametrize(
    "changed",
    [{"aud": "other"}, {"aud": None}, {"iss": "https://evil.example/auth/v1"}, {"iss": None}, {"role": "anon"}, {"role": None},
     {"role": "postgres"}, {"role": "service_role"}, {"role": ["authenticated"]}],
    ids=str,
)  # fmt: skip
def test_a_token_of_another_service_or_role(supabase: VerifiedTokens, changed: dict[str, Any]) -> None:
    claims = {name: value for name, value in (PERSON | changed).items() if value is not None}
    if claims.get("role") == "service_role":
        claims["iss"] = "https://evil.example"
    with pytest.raises(NotSignedIn):
        supabase.identity(signed(claims))


def test_a_token_without_an_end(supabase: VerifiedTokens) -> None:
    with pytest.raises(NotSignedIn):
        supabase.identity(jwt.encode(PERSON, SECRET))


def test_supabase_tokens_with_a_shared_secret(supabase: VerifiedTokens) -> None:
    token = signed(PERSON)
    identity = supabase.identity(token)
    assert (identity.role, identity.claims["sub"], identity.token) == ("authenticated", PERSON["sub"], token)
    assert supabase.identity(signed({"role": "service_role", "iss": "supabase"})).role == "service_role"
    assert supabase.identity("sb_secret_x").role == "service_role"
    with pytest.raises(NotSignedIn):
        supabase.identity("sb_secret_y")


def test_supabase_tokens_with_public_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key())) | {
        "kid": "k1",
        "use": "sig",
        "alg": "ES256",
    }
    asked: list[str] = []

    def fetch(client: jwt.PyJWKClient) -> dict[str, Any]:
        asked.append(client.uri)
        return {"keys": [public]}

    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", fetch)
    verifier = make_tokens(
        Settings(supabase_url=URL, supabase_anon_key="anon", supabase_service_role_key="sb_secret_x")
    )
    token = signed(PERSON, key=private, algorithm="ES256", kid="k1")
    assert verifier.identity(token).claims["sub"] == PERSON["sub"]
    assert set(asked) == {f"{URL}/auth/v1/.well-known/jwks.json"}
    with pytest.raises(NotSignedIn):
        verifier.identity(signed(PERSON, key=private, algorithm="ES256", kid="other"))
    with pytest.raises(
        NotSignedIn
    ):  # the public key used as a shared secret: only public-key algorithms count
        verifier.identity(signed(PERSON, key=public["x"], kid="k1"))


def test_each_data_folder_signs_with_its_own_secret(tmp_path: Path) -> None:
    first, second = (make_tokens(Settings(data_dir=tmp_path / name)) for name in "ab")
    assert isinstance(first, tokens.LocalTokens)
    with pytest.raises(NotSignedIn):
        second.identity(first.issue(PERSON))
    secret = tmp_path / "a" / "secrets" / "jwt"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert local_secret(tmp_path / "a", "jwt") == secret.read_text()


def test_a_person_that_is_gone_has_no_account(
    api: Callable[..., Api], token: Callable[..., str], runtime: Runtime
) -> None:
    gone = Api(api(None).client, token(HOLDER, sub="00000000-0000-4000-8000-00000000dead"))
    problem(gone.get("balance"), 404, "not_found")
