"""`ubm` and `%wendelin entity` in a real kernel: the cell's transaction, what is shown, and what Tab offers."""

from __future__ import annotations

import pytest
import transaction

import wendelin


@pytest.fixture(scope="module")
def acme(notebook):
    """The notebook with some entities."""
    notebook.ok("%wendelin entity create organisation title='Acme <Solar>' --reference ACME")
    notebook.ok('%wendelin entity create plant title="Roof 4" peak_power="12.3 kW" owner=ACME --reference PLANT-4')
    notebook.ok("ubm.create('sensor', 'SEN-4', unit='W', asset='PLANT-4', array=wendelin.ZBigArray((3,), 'f4'))")
    return notebook


def seen_elsewhere(reference):
    """The entity's state as another process, this one, sees it; None when it is not there."""
    db = wendelin.connect(transaction_manager=transaction.TransactionManager(), read_only=True)
    try:
        found = wendelin.entities(db).get(reference)
        return None if found is None else found.state
    finally:
        db.close()


def test_looking_makes_nothing(open_notebook, tmp_path):
    """A database without entities is not changed by a look; the first that is created makes the store."""
    fresh = open_notebook(WENDELIN_DB=f"file://{tmp_path}/fresh")
    assert fresh.ok("len(ubm), list(ubm), 'X' in ubm, ubm.search(type='plant'), bool(ubm)").result == (
        "(0, [], False, [], True)"
    )
    assert "none yet" in fresh.ok("ubm").result
    assert "none: %wendelin entity create" in fresh.ok("%wendelin entity list").result
    assert "ubm.search" in fresh.complete("ubm.sea")
    assert fresh.ok("'entities' in root").result == "False"
    assert fresh.ok("ubm.create('plant', 'FIRST').reference, 'entities' in root").result == "('FIRST', True)"
    assert fresh.ok("ubm['FIRST'].state").result == "'draft'"


def test_ubm_is_the_open_databases(acme, tmp_path):
    """Another database, other entities; stored or sent, the name is what `wendelin.entities(db)` gives."""
    assert acme.ok("ubm['ACME'] is wendelin.entities(db)['ACME']").result == "True"
    acme.ok(f"%wendelin open file://{tmp_path}/other")
    assert acme.ok("'ACME' in ubm").result == "False"
    acme.ok("%wendelin open")
    assert acme.ok("'ACME' in ubm").result == "True"
    assert acme.ok("value, (real,) = ubm.__reduce__(); real is wendelin.entities(db)").result == "True"
    acme.ok("%reset -f")
    assert acme.ok("len(ubm) > 0").result == "True"
    acme.ok("import wendelin")


def test_the_cell_is_the_transaction(acme):
    """What a magic did is stored with its cell, or not at all."""
    failed = acme.run("%wendelin entity create plant --reference GONE\nassert 'GONE' in ubm\n1 / 0")
    assert failed.ename == "ZeroDivisionError"
    assert seen_elsewhere("GONE") is None
    acme.ok("%wendelin entity create plant --reference STAYS")
    assert seen_elsewhere("STAYS") == "draft"
    assert acme.ok("%wendelin entity do STAYS validate --why 'it is right'").result == "<plant STAYS validated>"
    assert seen_elsewhere("STAYS") == "validated"
    assert "it is right" in acme.ok("ubm['STAYS'].trail[-1].why").result
    acme.ok("%wendelin entity set STAYS title='Roof 5' owner=ACME")
    assert acme.ok("ubm['STAYS'].title, ubm['STAYS'].owner.reference").result == "('Roof 5', 'ACME')"
    assert "STAYS is deleted" in acme.ok("%wendelin entity delete STAYS").stdout  # asks nothing
    assert seen_elsewhere("STAYS") is None


def test_entities_show_as_tables(acme):
    """HTML of an entity and of a search, escaped; no array is read."""
    shown = acme.ok("%wendelin entity show PLANT-4")
    assert "<plant PLANT-4 'Roof 4' draft>" in shown.result
    for text in ("<b>PLANT-4</b>", "12.3 kW", "ACME Acme &lt;Solar&gt;"):
        assert text in shown.html
    assert acme.ok("ubm['PLANT-4']").html == shown.html
    assert "ZBigArray" in acme.ok("ubm['SEN-4']").html
    found = acme.ok("ubm.search(type=('plant', 'organisation'), limit=1)")
    assert "Acme &lt;Solar&gt;" in found.html
    assert "… of 2: search(…, limit=…) shows more" in found.html
    listed = acme.ok("%wendelin entity list --type sensor --related asset=PLANT-4")
    assert [line.split()[0] for line in listed.result.splitlines()] == ["entities", "reference", "SEN-4"]
    assert "… of 3: --limit 3 shows all" in acme.ok("%wendelin entity list --limit 2").html
    assert acme.ok("%wendelin entity show PLANT-4 --json").stdout.startswith("{")


def test_types_are_explained(acme):
    """The list of types, and the fields of one."""
    assert "maintenance_order" in acme.ok("%wendelin entity types").result
    assert '"x-relation"' in acme.ok("%wendelin entity types plant --json").stdout
    assert acme.ok("%wendelin entity types plant").result.endswith("Markdown object>")
    assert "%wendelin entity create" in acme.ok("%wendelin entity").stdout
    assert "FIELD=VALUE" in acme.ok("%wendelin entity create --help").stdout


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("creat plant", "has no command 'creat': it has list, show, create"),
        ("create plant titel=x", "did you mean title?"),
        ("create plant peak_power='12 m'", "'m' is no unit of power"),
        ("show NOBODY", "no entity is named 'NOBODY'"),
        ("do PLANT-4 deliver", "from here: 'validate', 'archive'"),
        ("delete ACME", "PLANT-4 (owner) point to it"),
        ("list --typ plant", "Did you mean '--type'?"),
        ("list --db file:///elsewhere", "%wendelin open URL opens another database here"),
        ("set PLANT-4 'title", "No closing quotation"),
        ("import nothing.csv", "'nothing.csv' does not exist"),
    ],
)
def test_mistakes_are_one_sentence(acme, line, told):
    """The cell fails, with what is wrong and no traceback."""
    failed = acme.run(f"%wendelin entity {line}")
    assert failed.status == "error"
    assert told in failed.stderr
    assert "Traceback" not in failed.stderr + failed.traceback


def test_import_and_export(acme, tmp_path):
    """Files go in and out in the cell's transaction; a wrong line stops all, unless told otherwise."""
    (tmp_path / "more.csv").write_text("type,reference,owner\nplant,P-5,ACME\nplant,P-6,NOBODY\n")
    assert "line 3: plant P-6: owner = 'NOBODY'" in acme.run(f"%wendelin entity import {tmp_path}/more.csv").stderr
    assert seen_elsewhere("P-5") is None
    done = acme.ok(f"%wendelin entity import {tmp_path}/more.csv --partial")
    assert "1 created, 0 changed, 1 left out" in done.stdout
    assert seen_elsewhere("P-5") == "draft"
    assert "plant,P-5,draft,,ACME" in acme.ok("%wendelin entity export --type plant --format csv").stdout
    assert "are in the catalogue" in acme.ok("%wendelin entity reindex").stdout
    acme.ok("%wendelin entity delete P-5")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("re", ["reindex"]),
        ("list --ty", ["list --type"]),
        ("list --type tur", ["list --type turbine"]),
        ("list --type plant --state a", ["list --type plant --state archived"]),
        ("list --type sensor --related ass", ["list --type sensor --related asset="]),
        ("list --related owner=A", ["list --related owner=ACME"]),
        ("create vehi", ["create vehicle"]),
        ("create vehicle drive=h", ["create vehicle drive=hybrid", "create vehicle drive=hydrogen"]),
        ("create turbine off", ["create turbine offshore="]),
        ("create turbine offshore=t", ["create turbine offshore=true"]),
        ("create sensor unit=W asset=", ["create sensor unit=W asset=PLANT-4"]),
        ("create data_set items=SEN-4;SE", ["create data_set items=SEN-4;SEN-4"]),
        ("show PL", ["show PLANT-4"]),
        ("set PLANT-4 owne", ["set PLANT-4 owner="]),
        ("set PLANT-4 title='Roof 4' owner=", ["set PLANT-4 title='Roof 4' owner=ACME"]),
        ("do PLANT-4 v", ["do PLANT-4 validate"]),
        ("do PLANT-4 validate --", ["do PLANT-4 validate --why"]),
        ("delete PLANT-4 SE", ["delete PLANT-4 SEN-4"]),
    ],
)
def test_tab(acme, typed, offered):
    """Commands, options, types, references, fields, relations, states and transitions."""
    assert acme.complete(f"%wendelin entity {typed}") == [f"%wendelin entity {each}" for each in offered]


def test_tab_in_brackets(acme):
    """References of `ubm`."""
    assert {'ubm["ACME', 'ubm["PLANT-4'} <= set(acme.complete('ubm["'))
