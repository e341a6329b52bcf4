"""Tab completes subcommands, options, and names in the database."""

from __future__ import annotations

import pytest

from wendelin.kernel.completion import OFFERED
from wendelin.kernel.magics import SUBCOMMANDS


@pytest.fixture(scope="module")
def plant(notebook):
    """The notebook with names to complete."""
    notebook.ok(
        "for name in ('plants/4/power', 'plants/4/pyranometer', 'plants/40/power', 'plain'):\n"
        "    root[name] = 1\n"
        "for i in range(1000):\n"
        "    root[f'many/{i:04}'] = i\n"
        "plants = root['plants']; unrelated = {'plain': 1, 'plaster': 2}"
    )
    return notebook


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("%wendelin st", ["%wendelin status"]),
        ("%wendelin c", ["%wendelin commit", "%wendelin cells"]),
        ("x = 1\n%wendelin st", ["x = 1\n%wendelin status"]),
        ("  %wendelin st", ["  %wendelin status"]),
        ("%wendelin help st", ["%wendelin help status"]),
        ("%wendelin new a 3 f4 --o", ["%wendelin new a 3 f4 --order"]),
        ("%wendelin cells o", ["%wendelin cells on", "%wendelin cells off"]),
        ("%wendelin ls pl", ["%wendelin ls plain", "%wendelin ls plants/"]),
        ("%wendelin info plants/4", ["%wendelin info plants/4/", "%wendelin info plants/40/"]),
        ("%wendelin info plants/4/p", ["%wendelin info plants/4/power", "%wendelin info plants/4/pyranometer"]),
        ("%wendelin open plants/40/", ["%wendelin open plants/40/power"]),
        ('root["pl', ['root["plain', 'root["plants/']),
        ("x = root['plants/4/py", ["x = root['plants/4/pyranometer"]),
        ('root["plants"]["4"]["po', ['root["plants"]["4"]["power']),
        ("f(plants['4/po", ["f(plants['4/power"]),
        ("root['nothing/", []),
        ("%wendelin info plants/4/power/x", []),
    ],
)
def test_completions(plant, typed, offered):
    """What is offered for what was typed, and nothing else."""
    found = plant.complete(typed)
    assert sorted(found) == sorted(offered)


def test_all_subcommands(plant):
    """After the magic's name all subcommands are offered."""
    assert sorted(plant.complete("%wendelin ")) == sorted(f"%wendelin {name}" for name in SUBCOMMANDS)


def test_the_magic_itself(plant):
    """IPython completes the magic's name."""
    assert "%wendelin" in plant.complete("%wen")


def test_other_mappings_are_left_alone(plant):
    """Completion of a plain dictionary's keys is IPython's own."""
    assert {match.split('"')[1] for match in plant.complete('unrelated["pla')} == {"plain", "plaster"}


def test_names_offered_are_limited(plant):
    """Of a huge folder a screenful is offered."""
    assert len(plant.complete('root["many/')) == OFFERED
    assert plant.complete('root["many/099') == [f'root["many/099{i}' for i in range(10)]


def test_completion_reads_no_more_than_it_offers():
    """Names are found by prefix: the number of names looked at does not grow with the folder."""
    from wendelin.kernel.completion import paths
    from wendelin.storage.folder import Folder

    looked_at = 0

    class Counting(Folder):
        def __getitem__(self, path):
            nonlocal looked_at
            looked_at += 1
            return super().__getitem__(path)

        def __iter__(self):
            raise AssertionError("all names were read")

    folder = Counting()
    for i in range(10_000):
        folder[f"name{i:05}"] = i
    looked_at = 0
    assert paths(folder, "name0999") == [f"name0999{i}" for i in range(10)]
    assert looked_at <= 10


def test_no_database(open_notebook):
    """Without a database subcommands complete, names do not, and nothing is raised."""
    notebook = open_notebook(WENDELIN_DB="zeo:///nowhere?wait_timeout=0.1")
    assert notebook.complete("%wendelin st") == ["%wendelin status"]
    assert notebook.complete("%wendelin ls pl") == []
    notebook.run("1")
    assert notebook.complete('root["pl') == []
