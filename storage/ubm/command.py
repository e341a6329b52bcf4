"""The command `wendelin entity`: business objects from the command line."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities

_DATABASE = click.option("--db", "url", metavar="URL", help="The database; by default $WENDELIN_DB or your own.")
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")
_FORMAT = click.option(
    "--format", "form", type=click.Choice(["json", "csv"]), help="By default what the file's name says."
)
_WHY = click.option("--why", default="", help="Why, for the trail.")

_Item = TypeVar("_Item")


@click.group()
def entity() -> None:
    """Business objects: organisations, plants, sensors, products, orders.

    ENTITY is a reference, as PLANT-4, or a uid. FIELD=VALUE sets a field or a relation, as title="Roof 4",
    peak_power="12.3 kW", owner=ACME; an empty value empties it; several values stand between semicolons.
    """


@entity.command("list")
@_DATABASE
@click.option("--type", "kind", help="Only this type; see: wendelin entity types")
@click.option("--state", help="Only in this state.")
@click.option("--text", help="Only with these words.")
@click.option("--related", multiple=True, metavar="RELATION=ENTITY", help="Only what points there, as asset=PLANT-4.")
@click.option("--limit", default=100, show_default=True, help="How many at most.")
@_JSON
def list_(
    url: str | None, related: tuple[str, ...], kind: str | None, limit: int, as_json: bool, **query: str | None
) -> None:
    """List entities; one JSON object a line with --json."""
    with _entities(url, write=False) as ubm:
        if ubm is None:
            return
        found = ubm.search(**_given(type=kind, relation=_pairs(related) or None, **query), limit=limit)
        for each in found:
            line = f"{each.reference:<20} {each.type:<18} {each.state:<12} {each.title}".rstrip()
            click.echo(json.dumps(each.to_json(), ensure_ascii=False) if as_json else line)
        if found.next and not as_json:
            click.echo(f"… {found.total} there are: narrow it, or --limit {found.total}", err=True)


@entity.command()
@click.argument("name", metavar="ENTITY")
@_DATABASE
@_JSON
def show(name: str, url: str | None, as_json: bool) -> None:
    """Show all about ENTITY: fields, relations, possible transitions, its trail."""
    with _entities(url, write=False) as ubm:
        about = _there(ubm)[name].describe()
        if as_json:
            click.echo(json.dumps(about, ensure_ascii=False, indent=2))
        else:
            click.echo("\n".join(_told(about)))


@entity.command()
@click.argument("kind", metavar="TYPE")
@click.argument("values", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option("--reference", help="What people call it, for ever; made when it is left out.")
@_DATABASE
def create(kind: str, values: tuple[str, ...], reference: str | None, url: str | None) -> None:
    """Create an entity of TYPE; its reference is printed."""
    with _entities(url) as ubm:
        found = _there(ubm)
        click.echo(found.create(kind, reference, **_typed(kind, values)).reference)


@entity.command("set")
@click.argument("name", metavar="ENTITY")
@click.argument("values", metavar="FIELD=VALUE...", nargs=-1, required=True)
@_DATABASE
def set_(name: str, values: tuple[str, ...], url: str | None) -> None:
    """Change fields and relations of ENTITY, all or none."""
    with _entities(url) as ubm:
        found = _there(ubm)[name]
        found.set(**_typed(found.type, values))


@entity.command()
@click.argument("name", metavar="ENTITY")
@click.argument("transition")
@_WHY
@_DATABASE
def do(name: str, transition: str, why: str, url: str | None) -> None:
    """Take a TRANSITION of ENTITY, as validate, confirm, start; its new state is printed."""
    with _entities(url) as ubm:
        found = _there(ubm)[name]
        found.do(transition, why)
        click.echo(found.state)


@entity.command()
@click.argument("names", metavar="ENTITY...", nargs=-1, required=True)
@_DATABASE
@click.confirmation_option(prompt="Delete for good?")
def delete(names: tuple[str, ...], url: str | None) -> None:
    """Delete entities. Refused while others point to them, unless their rule says otherwise."""
    with _entities(url) as ubm:
        for name in names:
            found = _there(ubm)
            for each in found.delete(found[name]):
                click.echo(f"{each.reference} is deleted")


@entity.command("types")
@click.argument("name", metavar="[TYPE]", required=False)
@_JSON
def types_(name: str | None, as_json: bool) -> None:
    """List the types of entities, or the fields and relations of TYPE; with --json its JSON schema."""
    from wendelin.storage.ubm import reference, registry

    with _explained():
        if name is None:
            click.echo("\n".join(reference.lines(registry.types(), as_json=as_json)))
        elif as_json:
            click.echo(json.dumps(registry.type_named(name).schema(), indent=2))
        else:
            click.echo(reference.section(registry.type_named(name)))


@entity.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_FORMAT
@click.option("--update", is_flag=True, help="Change entities whose reference exists.")
@click.option("--partial", is_flag=True, help="Leave out lines that are wrong; by default one wrong line stops all.")
@_DATABASE
def import_(file: Path, form: str | None, update: bool, partial: bool, url: str | None) -> None:
    """Create entities from a JSON or CSV FILE, in one transaction."""
    from wendelin.storage.ubm import exchange

    with _entities(url) as ubm:
        text = _text(file)
        rows = (exchange.read_csv if _form(file, form) == "csv" else exchange.read_json)(text)
        with _bar(2 * len(rows), "importing") as tick:
            done = exchange.load(_there(ubm), rows, update=update, partial=partial, tick=tick)
        if done.errors:
            click.echo(exchange.told(done.errors), err=True)
    click.echo(f"{len(done.created)} created, {len(done.changed)} changed, {len(done.errors)} left out")
    sys.exit(1 if done.errors else 0)


@entity.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default="-")
@_FORMAT
@click.option("--type", "kind", help="Only this type.")
@click.option("--state", help="Only in this state.")
@_DATABASE
def export(file: Path, form: str | None, kind: str | None, state: str | None, url: str | None) -> None:
    """Write entities to FILE, or to standard output; relations by reference, no arrays, files and notes."""
    from wendelin.storage.ubm import exchange

    with _entities(url, write=False) as ubm, contextlib.ExitStack() as stack:
        uids = [] if ubm is None else [row["uid"] for row in ubm.rows(**_given(type=kind, state=state))]
        tick = stack.enter_context(_bar(len(uids), "exporting")) if str(file) != "-" else _nothing
        found = _ticking((_there(ubm)[uid] for uid in uids), tick)
        pieces = (exchange.write_csv if _form(file, form) == "csv" else exchange.write_json)(found)
        stream = sys.stdout if str(file) == "-" else stack.enter_context(file.open("w", encoding="utf-8", newline=""))
        stream.writelines(pieces)


@entity.command()
@_DATABASE
def reindex(url: str | None) -> None:
    """Make the catalogue anew from all entities."""
    with _entities(url) as ubm:
        found = _there(ubm)
        found.catalogue.hold()
        found._p_jar.transaction_manager.commit()
        with _bar(len(found), "indexing") as tick:
            count = found.reindex(tick)
        click.echo(f"{count} entities are in the catalogue")


# -- helpers


def _given(**query: Any) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals:
            raise click.UsageError(f"{value!r} is no FIELD=VALUE: write it as title='Roof 4'")
        found[name] = rest
    return found


def _typed(kind: str, values: tuple[str, ...]) -> dict[str, Any]:
    from wendelin.storage.ubm.exchange import cell
    from wendelin.storage.ubm.registry import type_named

    cls = type_named(kind)
    return {name: cell(cls, name, value) for name, value in _pairs(values).items()}


def _told(about: dict[str, Any]) -> Iterator[str]:
    relations, trail = about.pop("relations"), about.pop("trail")
    for name, value in about.items():
        if value not in (None, "", [], {}) and name not in ("transitions", *relations):
            yield f"{name:<22}{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
    for name, targets in relations.items():
        names = (f"{each['reference']} {each['title']}".strip() for each in targets)
        yield f"{name:<22}{', '.join(names)}"
    yield f"{'possible':<22}{', '.join(each['name'] for each in about['transitions']) or 'nothing'}"
    for entry in trail:
        what = f"{entry['from_state']} → {entry['to_state']}" if entry["to_state"] else entry["name"] or entry["kind"]
        yield f"  {entry['when'][:19]} {entry['who']}: {what}{'  ' + entry['why'] if entry['why'] else ''}"


def _there(ubm: Entities | None) -> Entities:
    if ubm is None:
        raise click.ClickException("this database has no entities yet: wendelin entity create, or import")
    return ubm


def _form(file: Path, form: str | None) -> str:
    return form or ("csv" if file.suffix.lower() == ".csv" else "json")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file} is not UTF-8: {error}; convert it first, iconv -t utf-8") from None


def _nothing() -> None:
    pass


def _ticking(items: Iterator[_Item], tick: Callable[[], object]) -> Iterator[_Item]:
    for item in items:
        yield item
        tick()


@contextlib.contextmanager
def _bar(length: int, label: str) -> Iterator[Callable[[], object]]:
    """A bar on the terminal; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield lambda: bar.update(1)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    from wendelin.storage.errors import WendelinError

    try:
        yield
    except WendelinError as error:
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def _entities(url: str | None, *, write: bool = True) -> Iterator[Entities | None]:
    """The entities, in a transaction that is committed at the end; None when there are none and none may be made.

    In a notebook, which gives its connection as the context's object, they are in the transaction of the cell.
    """
    import transaction

    import wendelin
    from wendelin.storage.ubm.entities import NAME, entities

    manager = transaction.TransactionManager()
    given = click.get_current_context().obj
    if given is not None:
        with _explained():
            yield entities(given) if write or NAME in given.root() else None
        return
    with _explained():
        connection = wendelin.connect(url, transaction_manager=manager, read_only=not write)
        try:
            with manager:
                yield entities(connection) if write or NAME in connection.root() else None
        finally:
            connection.close()
