"""What follows by itself: movements that paths plan, ingestions that data bring, analyses that ingestions start.

An analysis is run by an activity: its operation gets the analysis, whose `items` are the input and whose `outputs` take
the result. What it stores and the end of the analysis are one transaction, so both happen exactly once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from wendelin.storage.activities.create import operation
from wendelin.storage.errors import TransitionError
from wendelin.storage.ubm.catalogue.row import asked_words

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities
    from wendelin.storage.ubm.entity import Entity

#: What an operation returns to be called again, in a transaction of its own.
MORE_TO_DO = "more to do"

#: States of paths in force, and of movements that have not ended.
IN_FORCE = ("validated", "default")
_RUNNING = ("confirmed", "started")

#: Movements that one call may plan.
_MOST = 10_000


# -- planned movements


def plan(path: Any, start: datetime, stop: datetime) -> list[Any]:
    """The movements of a path from `start` until before `stop`, in the state planned; those that were not there yet.

    One each `interval` of the path, counted from its own start where it has one; one for all when it has none. An
    interval is a duration: `24 h` are 24 hours across a change of clocks too, and begin at another time of day then.
    Raises `TransitionError` when the path is not in force.
    """
    if path.state not in IN_FORCE:
        raise TransitionError(f"{path.label('plan')} needs the state {' or '.join(IN_FORCE)}: do('validate') first")
    store, kind = path.store, path.plans
    there = {row["start"] for row in store.rows(type=kind, relation={"path": path}) if row["state"] != "cancelled"}
    planned = []
    for begin, end in spans(path, start, stop):
        if begin not in there:
            movement = store.create(kind, start=begin, stop=end, path=path, **path.movement())
            movement.do("plan", why=f"{path.type} {path.reference}")
            planned.append(movement)
    return planned


def spans(path: Any, start: datetime, stop: datetime) -> Iterator[tuple[datetime, datetime]]:
    """(begin, end) of each planned movement."""
    start, stop = _within(path, start.astimezone(UTC), stop.astimezone(UTC))
    if path.interval is None:
        if start < stop:
            yield start, stop
        return
    step = timedelta(seconds=float(path.interval.to("s")))
    if step <= timedelta(0) or (stop - start) / step > _MOST:
        raise TransitionError(f"{path.label('interval')} = {path.interval}: that makes more than {_MOST} movements")
    begin = path.start or start
    if begin < start:
        begin += -((begin - start) // step) * step
    while begin < stop:
        yield begin, begin + step
        begin += step


def _within(path: Any, start: datetime, stop: datetime) -> tuple[datetime, datetime]:
    return max(start, path.start or start), min(stop, path.stop or stop)


def is_in_force(path: Any, at: datetime) -> bool:
    """Whether a path is validated, and for that time."""
    return path.state in IN_FORCE and (path.start is None or path.start <= at) and (path.stop is None or at < path.stop)


# -- ingestions


def ingestion_for(store: Entities, tag: str) -> Any:
    """The ingestion into which data of that tag go; None when no supply takes them: keep them elsewhere then.

    It is the started one of the tag, else a new one of the validated supply with the tag, else of the default supply.
    """
    for found in _tagged(store, tag, type="ingestion", state="started"):
        return found
    supply = _supply_for(store, tag)
    if supply is None:
        return None
    ingestion = store.create("ingestion", **{**supply.movement(), "tag": tag, "path": supply})
    if not ingestion.items:
        ingestion.items = [sink(store, supply.resource, supply)]
    for transition in ("plan", "confirm", "start"):
        ingestion.do(transition, why=f"data came with the tag {tag}")
    return ingestion


def _supply_for(store: Entities, tag: str) -> Any:
    default = (store[row["uid"]] for row in store.rows(type="supply", state="default"))
    for supply in itertools.chain(_tagged(store, tag, type="supply", state="validated"), default):
        if supply.resource.type == "data_product" and is_in_force(supply, datetime.now(UTC)):
            return supply
    return None


def _tagged(store: Entities, tag: str, **query: str) -> Iterator[Any]:
    """What has exactly that tag. The catalogue finds what has its words; a tag without any is looked for in all."""
    words = {"text": tag} if asked_words(tag) else {}
    for row in list(store.rows(**query, **words)):
        entity = store[row["uid"]]
        if entity.tag == tag:
            yield entity


def sink(store: Entities, product: Any, path: Any) -> Any:
    """A new item for data of a product, which belongs to whom the path says."""
    values = {"title": product.title, "resource": product, "owner": path.owner, "project": path.project}
    if product.sink == "array":
        values |= {"columns": product.columns, "unit": product.unit}
    return store.create(product.sink, **values)


# -- analyses


def follow(ingestion: Any) -> list[Any]:
    """Start the analyses that an ingestion's state asks for, and let those that run look at what came; all of them."""
    if ingestion.resource is None:
        return []
    store = ingestion.store
    known = [store[row["uid"]] for row in store.rows(type="analysis", relation={"causality": ingestion})]
    taken = {analysis.related("path") for analysis in known}
    for row in list(store.rows(type="transformation", relation={"inputs": ingestion.resource})):
        transformation = store[row["uid"]]
        if (
            transformation.trigger == ingestion.state
            and (transformation.uid,) not in taken
            and is_in_force(transformation, datetime.now(UTC))
        ):
            known.append(_analysis(transformation, ingestion))
    for analysis in known:
        wake(analysis)
    return known


def _analysis(transformation: Any, ingestion: Any) -> Any:
    store, done = transformation.store, transformation.operation
    analysis = store.create(
        "analysis",
        title=f"{transformation.title or done.title} of {ingestion.title or ingestion.reference}",
        path=transformation,
        operation=done,
        resource=transformation.outputs[0] if transformation.outputs else None,
        parameters={**done.parameters, **transformation.parameters},
        items=ingestion.items,
        outputs=[sink(store, product, transformation) for product in transformation.outputs],
        source=transformation.source or ingestion.source,
        destination=transformation.destination or ingestion.destination,
        owner=transformation.owner or ingestion.owner,
        project=transformation.project or ingestion.project,
        causality=[ingestion],
    )
    for transition in ("plan", "confirm", "start"):
        analysis.do(transition, why=f"transformation {transformation.reference}")
    return analysis


def wake(analysis: Any) -> None:
    """Let a worker run the operation of a started analysis, once however often it is asked for."""
    if analysis.state == "started":
        analysis.activate(
            unique=True,
            serialization_tag=f"analysis {analysis.uid}",
            tag=f"analysis {analysis.uid}",
            on_error_callback=note_failure.__name__,
        ).proceed()


def proceed(analysis: Any) -> str:
    """What the activity does: one round of the operation. Delivers the analysis when nothing more is to come."""
    if analysis.state != "started":
        return f"{analysis.state} meanwhile"
    result = analysis.operation.callable()(analysis, **analysis.parameters)
    more = isinstance(result, str) and result == MORE_TO_DO
    analysis.set(rounds=analysis.rounds + 1, result="" if result is None else str(result)[:1000])
    if more:
        wake(analysis)
    elif not any(each.type == "ingestion" and each.state in _RUNNING for each in analysis.causality):
        analysis.do("stop", why=f"{analysis.operation.function} has done all")
        analysis.do("deliver", why=analysis.result)
    return str(analysis.state)


@operation
def note_failure(message: Any) -> None:
    """Write on an entity that its activity failed for good."""
    entity: Entity | None = None if message.target is None else message.target()
    if entity is not None:
        line = message.error.strip().rpartition("\n")[2]
        entity.note(f"activity {message.uid[:8]} failed, wendelin activity retry {message.uid[:8]}: {line}")
