"""Persistent classes are stored under their public names, whatever module they lie in."""

from __future__ import annotations

import io
import pickletools
from pathlib import Path

import pytest
import transaction
from persistent import Persistent

import wendelin


def public_persistent_classes() -> list[type]:
    """The classes that `wendelin` offers and a database can hold."""
    offered = [getattr(wendelin, name) for name in dir(wendelin) if not name.startswith("_")]
    return [value for value in offered if isinstance(value, type) and issubclass(value, Persistent)]


def test_there_are_some() -> None:
    assert {"ZBigArray", "Folder"} <= {cls.__name__ for cls in public_persistent_classes()}


@pytest.mark.parametrize("cls", public_persistent_classes(), ids=lambda cls: cls.__name__)
def test_a_public_class_is_found_by_its_public_name(cls: type) -> None:
    assert cls.__module__ == "wendelin"
    assert getattr(wendelin, cls.__qualname__) is cls


def globals_in(record: bytes) -> set[str]:
    """The classes that a database record names; a record is two pickles, the class and the state."""
    found: set[str] = set()
    texts: list[str] = []
    stream = io.BytesIO(record)
    for _ in range(2):
        for opcode, argument, _position in pickletools.genops(stream):
            if opcode.name == "GLOBAL":
                found.add(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                found.add(".".join(texts[-2:]))
            elif isinstance(argument, str):
                texts.append(argument)
    return found


def test_records_name_no_inner_module(tmp_path: Path) -> None:
    """An array in a folder, committed: every record of ours says `wendelin.<Name>`."""
    manager = transaction.TransactionManager()
    connection = wendelin.connect(f"file://{tmp_path}/db", transaction_manager=manager)
    root = connection.root()
    root["plant/power"] = wendelin.ZBigArray((1000, 4), "f4")
    root["plant/power"][:10] = 1
    manager.commit()
    names = {
        name for stored in connection.db().storage.iterator() for record in stored for name in globals_in(record.data)
    }
    connection.close()
    ours = {name for name in names if name.startswith("wendelin")}
    assert {"wendelin.ZBigArray", "wendelin.Folder"} <= ours
    assert [name for name in ours if name.count(".") != 1] == []
