"""An honest Stripe simulator for development and tests: API, hosted payment page, webhooks and a control
plane.

    simulator = Simulator(data_dir)
    app = Starlette(routes=[Mount("/sim", create_app(simulator))])
    gateway = StripeGateway.for_simulator(simulator, base_url="http://127.0.0.1:8501/sim")

It keeps its state in one file, speaks the shapes of the installed stripe-python (a test compares them), and
cannot
be made while a real Stripe key is set.
"""

from credits_core.stripe_sim.app import create_app
from credits_core.stripe_sim.simulator import API_KEY, Simulator

__all__ = ["API_KEY", "Simulator", "create_app"]
