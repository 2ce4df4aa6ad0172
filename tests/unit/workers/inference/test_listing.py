from infra.errors import Transient
from tests.eventually import eventually
from tests.unit.workers.inference.test_answer import ANSWER, Scripted
from workers.inference.backends.extractive import ExtractiveBackend
from workers.inference.breaker import Breaker
from workers.inference.fleet import Member
from workers.inference.listing import LONGEST_NAME, MOST_NAMES, Listing
from workers.inference.settings import ExtractiveSettings


def member(backend: Scripted | ExtractiveBackend) -> Member:
    return Member(backend, Breaker(backend.name))


async def test_every_name_that_can_be_asked_for_is_known_once() -> None:
    first = Scripted(ANSWER, name="openai", model="coder", adapters=("support-lora", "shared"))
    second = Scripted(ANSWER, name="second", model="shared")
    members = [member(first), member(second), member(ExtractiveBackend(ExtractiveSettings()))]
    listing = Listing(lambda: members)
    assert listing.names == ()
    await listing.ask()
    assert listing.names == ("coder", "extractive", "shared", "support-lora")


async def test_what_a_server_that_is_away_had_stays_listed_until_it_tells_otherwise() -> None:
    backend = Scripted(ANSWER, model="coder", adapters=("support-lora",))
    listing = Listing(lambda: [member(backend)])
    await listing.ask()
    backend.listing = Transient("inference", "ConnectError")
    await listing.ask()
    assert listing.names == ("coder", "support-lora")
    backend.listing, backend.adapters = None, ()
    await listing.ask()
    assert listing.names == ("coder",)


async def test_a_server_that_the_routing_no_longer_names_is_forgotten() -> None:
    members = [member(Scripted(ANSWER, name="a", model="m1")), member(Scripted(ANSWER, name="b", model="m2"))]
    listing = Listing(lambda: members)
    await listing.ask()
    del members[1]
    await listing.ask()
    assert listing.names == ("m1",)


async def test_names_have_a_bound() -> None:
    many = [f"model-{number:04}" for number in range(2 * MOST_NAMES)]
    backend = Scripted(ANSWER, model="a" * (LONGEST_NAME + 1), adapters=many)
    listing = Listing(lambda: [member(backend)])
    await listing.ask()
    assert listing.names == tuple(many[:MOST_NAMES])


async def test_it_asks_again_and_again_until_it_is_closed() -> None:
    backend = Scripted(ANSWER, model="coder")
    listing = await Listing.open(lambda: [member(backend)], every_s=0.01)
    await eventually(lambda: listing.names == ("coder",))
    backend.model = "poet"
    await eventually(lambda: listing.names == ("poet",))
    await listing.close()
