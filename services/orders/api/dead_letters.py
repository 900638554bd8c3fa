"""Dead letters of the queue that order systems publish to, for the companies whose messages they are."""

from services.orders.intake import QUEUE
from services.orders.store.publishers import find_users
from shared.access import Caller
from shared.database import Session
from shared.dead_letter_routes import PATH, dead_letter_router
from shared.messaging.dead_letters import Whose


async def whose_messages(caller: Caller, session: Session) -> Whose:
    """Those that the company's own users of the broker sent; the platform admin sees all of the queue."""
    return Whose(QUEUE, None if caller.is_admin else await find_users(session, caller.company()))


# All of orders, for the platform admin, and those of the intake.
ROUTERS = (dead_letter_router("orders"), dead_letter_router("orders", PATH, whose_messages))
