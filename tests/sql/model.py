"""The rules of the ledger once more, as small as they can be said: what test_model.py holds the database against.

Amounts are micros. Written from the requirements (B2, B5, B7 to B9, D2), not from the SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

OVERDRAFT = None  # in place of a grant: what is kept or spent below zero
NEVER = datetime.max.replace(tzinfo=UTC)
Part = tuple["Grant | None", int]


class Refused(Exception):
    """The rules do not allow it; nothing has changed."""


@dataclass(eq=False)
class Grant:
    """Credits received at once, and what is left of them."""

    granted: int
    promotional: bool
    expires_at: datetime | None
    created_at: datetime
    remaining: int = 0
    recovered: int = 0  # how much of it has paid a debt
    recovered_last: int = 0  # the number of the recovery it paid in last


@dataclass(eq=False)
class Hold:
    """Credits reserved, part by part, with the quantity they cover."""

    operation: str
    quantity: int
    expires_at: datetime
    parts: list[Part] = field(default_factory=list)
    status: str = "open"
    captured: bool = False

    @property
    def amount(self) -> int:
        return sum(amount for _, amount in self.parts)


@dataclass(eq=False)
class Booking:
    """A row of the ledger that can be reversed: what it took from (or gave to, if negative) which grant."""

    kind: str
    parts: list[Part]
    reversed: bool = False


class Account:
    """One account under the rules."""

    def __init__(self, now: datetime, overdraft: int) -> None:
        self.now = now
        self.overdraft = overdraft
        self.debt = self.used = self.purchased = self.recoveries = 0
        self.grants: list[Grant] = []
        self.holds: list[Hold] = []

    @property
    def held(self) -> int:
        return sum(hold.amount for hold in self.holds)

    @property
    def posted(self) -> int:
        return sum(grant.remaining for grant in self.grants) + self.held - self.debt

    @property
    def available(self) -> int:
        return self.posted - self.held + self.overdraft

    def move_to(self, now: datetime) -> None:
        """Time passes; what expires is gone at that instant, except what holds keep."""
        self.now = now
        for grant in self.grants:
            if grant.expires_at is not None and grant.expires_at <= now:
                grant.remaining = 0

    def receive(self, amount: int, *, promotional: bool, expires_at: datetime | None = None) -> Grant:
        grant = Grant(amount, promotional, expires_at, self.now, amount)
        self.grants.append(grant)
        return grant

    def recover(self) -> None:
        """The end of every step: what is owed is paid as soon as there are credits, wherever they came from."""
        self.recoveries += 1
        before = self.debt
        parts = self._take(min(self._owed(), sum(grant.remaining for grant in self.grants)), below_zero=0)
        assert self.debt == before
        for grant, amount in parts:
            if grant is not OVERDRAFT and amount:
                self.debt -= amount
                grant.recovered += amount
                grant.recovered_last = self.recoveries

    def purchase(self, credits: int, bonus: int) -> None:
        self.purchased += credits + bonus
        self.receive(credits, promotional=False)
        if bonus:
            self.receive(bonus, promotional=True)

    def adjust(self, amount: int, expires_at: datetime | None) -> Booking:
        if amount > 0:
            return Booking(
                "adjustment", [(self.receive(amount, promotional=True, expires_at=expires_at), -amount)]
            )
        if -amount > sum(grant.remaining for grant in self.grants):
            raise Refused
        return Booking("adjustment", self._take(-amount, below_zero=0))

    def use(self, cost: int) -> Booking:
        booking = Booking("use", self._take(cost, below_zero=self._headroom()))
        self.used += cost
        return booking

    def grow(self, hold: Hold, quantity: int, cost: int) -> None:
        """Make a hold cover `quantity`, which costs `cost` in all."""
        hold.parts += self._take(max(cost - hold.amount, 0), below_zero=self._headroom())
        hold.quantity = max(hold.quantity, quantity)
        if hold not in self.holds:
            self.holds.append(hold)

    def capture(self, hold: Hold, cost: int) -> Booking:
        """Work was done, so this is never refused: first from the hold, then from the account, then as a debt."""
        need, parts = cost, []
        for grant, amount in hold.parts:
            parts.append((grant, min(amount, need)))
            need -= parts[-1][1]
        kept, hold.parts = hold.parts, []
        for (grant, amount), (_, taken) in zip(kept, parts, strict=True):
            self._give_back(grant, amount - taken)
        hold.captured = True
        hold.status = "captured" if hold.status == "open" else hold.status
        parts += self._take(need, below_zero=need)
        self.used += cost
        return Booking("use", parts)

    def release(self, hold: Hold, status: str) -> None:
        parts, hold.parts, hold.status = hold.parts, [], status
        for grant, amount in parts:
            self._give_back(grant, amount)

    def expire_holds(self) -> None:
        for hold in self.holds:
            if hold.status == "open" and hold.expires_at <= self.now:
                self.release(hold, "expired")

    def reverse(self, booking: Booking) -> None:
        if booking.reversed or any(grant and grant.remaining + amount < 0 for grant, amount in booking.parts):
            raise Refused
        booking.reversed = True
        if booking.kind == "use":
            self.used -= sum(amount for _, amount in booking.parts)
        for grant, amount in booking.parts:
            if grant is not OVERDRAFT:
                self._give_back(grant, amount)
        debt = sum(amount for grant, amount in booking.parts if grant is OVERDRAFT)
        forgiven = min(debt, self._owed())
        self.debt -= forgiven
        self._return_recovered(debt - forgiven)

    def _return_recovered(self, amount: int) -> None:
        """A debt that is taken back after it was paid: to the grants that paid, latest first, or as credits of its own."""
        for grant in sorted(
            self.grants, key=lambda grant: (-grant.recovered_last, -self.grants.index(grant))
        ):
            back = min(grant.recovered, grant.granted - grant.remaining, amount)
            self._give_back(grant, back)
            amount -= back
        if amount:
            self.grants.append(Grant(amount, False, None, self.now, amount))

    def _owed(self) -> int:
        return self.debt - sum(
            amount for hold in self.holds for grant, amount in hold.parts if grant is OVERDRAFT
        )

    def _headroom(self) -> int:
        return max(self.overdraft - self.debt, 0)

    def _take(self, need: int, *, below_zero: int) -> list[Part]:
        order = sorted(
            (grant for grant in self.grants if grant.remaining),
            key=lambda grant: (grant.expires_at or NEVER, not grant.promotional, grant.created_at),
        )
        if need > sum(grant.remaining for grant in order) + below_zero:
            raise Refused
        parts: list[Part] = []
        for grant in order:
            taken = min(grant.remaining, need)
            grant.remaining -= taken
            need -= taken
            parts.append((grant, taken))
        self.debt += need
        return [*parts, (OVERDRAFT, need)]

    def _give_back(self, grant: Grant | None, amount: int) -> None:
        if grant is OVERDRAFT:
            self.debt -= amount
        elif grant.expires_at is None or grant.expires_at > self.now:
            grant.remaining += amount
