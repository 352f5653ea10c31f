"""`token --email holder@demo.test`: a bearer token for the API, as the last line."""

from __future__ import annotations

import argparse

from credits_core.auth.providers import DEMO_PEOPLE, DemoAuth
from credits_core.auth.tokens import TOKEN_SECONDS, LocalTokens
from credits_core.cli import runtime_of_environment
from credits_core.errors import ConfigError, NotFound

PROGRAM = {"role": "service_role", "sub": "program"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--email", help=f"a person, such as {DEMO_PEOPLE[0].email}")
    who.add_argument("--service", action="store_true", help="a program that may act for any account")
    parser.add_argument(
        "--seconds",
        type=int,
        default=TOKEN_SECONDS,
        help="how long it is valid (default: %(default)s, a day)",
    )


def run(arguments: argparse.Namespace) -> int:
    with runtime_of_environment() as runtime:
        provider, tokens = runtime.identity_provider, runtime.tokens
        if not isinstance(provider, DemoAuth) or not isinstance(tokens, LocalTokens):
            raise ConfigError(
                "With Supabase, tokens come from Supabase Auth: sign in there and use the access token."
            )
        claims = PROGRAM if arguments.service else provider.claims_of(arguments.email)
        if claims is None:
            people = ", ".join(person.email for person in DEMO_PEOPLE)
            raise NotFound(
                f"There is nobody with the e-mail address {arguments.email}; try one of: {people}."
            )
        print(tokens.issue(claims, seconds=arguments.seconds))
    return 0
