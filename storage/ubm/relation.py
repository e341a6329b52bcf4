"""What entities point to: `Relation` to other entities, `Carried` to arrays. Both are attributes of the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ZODB.utils import z64

from wendelin.storage.errors import FieldError, NoEntityError

if TYPE_CHECKING:
    from wendelin.storage.ubm.entity import Entity

#: What happens to an entity that points to one that is deleted.
REFUSE, CLEAR, CASCADE = RULES = ("refuse", "clear", "cascade")


class Relation:
    """Points to entities of certain types, by their uid.

    Parameters
    ----------
    to
        Names of types (their subtypes too) or of UBM roles; none means any entity.
    many
        Whether its value is a tuple of entities; else an entity or None.
    acyclic
        Whether nothing may come to point to itself, through whatever it points to.
    on_delete
        When a target is deleted: "refuse" the deletion, "clear" the pointer, or "cascade" and delete this one as well.
    """

    name = ""

    def __init__(
        self, *to: str, many: bool = False, on_delete: str = REFUSE, acyclic: bool = False, doc: str = ""
    ) -> None:
        assert on_delete in RULES, on_delete
        self.to, self.many, self.on_delete, self.acyclic, self.doc = to, many, on_delete, acyclic, doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, entity: Entity | None, owner: type | None = None) -> Any:
        if entity is None:
            return self
        found = tuple(entity.store.get(uid) for uid in entity.related(self.name))
        return found if self.many else found[0] if found else None

    def __set__(self, entity: Entity, value: Any) -> None:
        entity.relate(self.name, self.checked(entity, value))

    def admits(self, cls: type[Entity]) -> bool:
        """Whether an entity of that class may be a target."""
        return not self.to or any(name in cls.roles or name in cls.kinds() for name in self.to)

    def checked(self, entity: Entity, value: Any) -> list[Entity]:
        """The entities that `value` means: entities, uids or references. FieldError when one may not be a target."""
        if value is None or value == "":
            return []
        several = isinstance(value, (list, tuple, set, frozenset))
        if several and not self.many and len(value) > 1:
            raise FieldError(f"{entity.label(self.name)} = {value!r}: give one {self.targets}, not {len(value)}")
        found: dict[str, Entity] = {}
        for one in value if several else (value,):
            target = self._target(entity, one)
            found[target.uid] = target
        if self.acyclic:
            self._refuse_ring(entity, found)
        return list(found.values())

    def _refuse_ring(self, entity: Entity, targets: dict[str, Entity]) -> None:
        waiting, seen = [*targets.items()], set[str]()
        while waiting:
            uid, target = waiting.pop()
            if uid == entity.uid:
                names = ", ".join(each.reference for each in targets.values())
                raise FieldError(
                    f"{entity.label(self.name)} = {names}: then it would be its own {self.name}; give another one"
                )
            if uid not in seen and target is not None:
                seen.add(uid)
                target._p_activate()
                if target._p_jar is not None and target._p_serial != z64:
                    target._p_jar.readCurrent(target)  # else two who relate at once could close a ring together
                waiting += [(each, entity.store.get(each)) for each in target.related(self.name)]

    def _target(self, entity: Entity, value: Any) -> Entity:
        from wendelin.storage.ubm.entity import Entity

        target = value
        if isinstance(value, str):
            try:
                target = entity.store[value]
            except NoEntityError as error:
                raise FieldError(f"{entity.label(self.name)} = {value!r}: {error}") from None
        if not isinstance(target, Entity) or not self.admits(type(target)):
            kind = target.type if isinstance(target, Entity) else type(target).__name__
            raise FieldError(
                f"{entity.label(self.name)} = {value!r}: {kind} will not do; "
                f"give {self.targets}, as an entity, a reference or a uid"
            )
        if target.store is not entity.store:
            raise FieldError(f"{entity.label(self.name)} = {value!r}: it belongs to another database; create one here")
        if target.is_deleted:
            raise FieldError(f"{entity.label(self.name)} = {value!r}: it was deleted; give another {self.targets}")
        return target

    @property
    def targets(self) -> str:
        """What it points to, in words."""
        return " or ".join(self.to) or "entity"

    def schema(self) -> dict[str, Any]:
        """JSON schema: uids or references, with what they must be."""
        one: dict[str, Any] = {"type": "string", "description": f"uid or reference: {self.targets}"}
        shape = {"type": "array", "items": one} if self.many else {"anyOf": [one, {"type": "null"}]}
        rule = {"to": list(self.to), "many": self.many, "on_delete": self.on_delete}
        return {**shape, "title": self.name, "x-relation": rule, **({"description": self.doc} if self.doc else {})}


class Carried:
    """A `ZBigArray` or a `ByteStream` that an entity carries. Loading the entity does not load it."""

    name = ""

    def __init__(self, doc: str = "") -> None:
        self.doc = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, entity: Entity | None, owner: type | None = None) -> Any:
        return self if entity is None else entity.carried(self.name)

    def __set__(self, entity: Entity, value: Any) -> None:
        entity.carry(self.name, self.checked(entity, value))

    def checked(self, entity: Entity, value: Any) -> Any:
        """`value`, when it may be carried. FieldError when it is no array."""
        from wendelin.storage.arrays.array import ZBigArray
        from wendelin.storage.streams.stream import ByteStream

        if value is not None and not isinstance(value, ZBigArray | ByteStream):
            raise FieldError(
                f"{entity.label(self.name)} = {type(value).__name__}: give a persistent array, "
                "wendelin.ZBigArray(shape, dtype) or wendelin.ByteStream(), and fill it"
            )
        return value
