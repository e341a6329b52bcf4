"""Callbacks of widgets are transactions of their own."""

from __future__ import annotations

import pytest

from tests.kernel.notebooks import stored
from wendelin.kernel.callbacks import CALLBACK_WENT_BACK, WITH_CELL_WENT_BACK

CLICK = {"method": "custom", "content": {"event": "click"}}


@pytest.fixture
def button(notebook) -> str:
    """A button whose callback runs `act()`, which tests define; its comm."""
    notebook.ok("import ipywidgets; button = ipywidgets.Button(); button.on_click(lambda _: act())")
    return str(notebook.ok("print(button.comm.comm_id)").stdout.strip())


@pytest.fixture
def comm(notebook) -> str:
    """A plain comm whose messages run `act()`."""
    notebook.ok("from comm import create_comm; plain = create_comm('test'); plain.on_msg(lambda message: act())")
    return str(notebook.ok("print(plain.comm_id)").stdout.strip())


def test_success_commits(notebook, button):
    """A click stores what its callback stored, and says that it was a callback."""
    notebook.ok("def act(): root['clicks'] = root.get('clicks', 0) + 1")
    assert stored("clicks") is None
    notebook.send_comm(button, CLICK)
    notebook.send_comm(button, CLICK)
    assert stored("clicks") == 2
    assert "widget callback" in notebook.ok("%wendelin status").result


def test_change_of_a_value_commits(notebook):
    """Observers of values are callbacks too."""
    notebook.ok("slider = ipywidgets.IntSlider()")
    notebook.ok("slider.observe(lambda change: root.__setitem__('value', change['new']), 'value')")
    comm = notebook.ok("print(slider.comm.comm_id)").stdout.strip()
    notebook.send_comm(comm, {"method": "update", "state": {"value": 42}, "buffer_paths": []})
    assert stored("value") == 42


@pytest.mark.parametrize("kind", ["button", "comm"])
def test_exception_aborts(notebook, kind, request):
    """A callback that raises stores nothing; its traceback's last line says so. ipywidgets shows, comms only log."""
    target = request.getfixturevalue(kind)
    notebook.ok("def act():\n    root['half'] = 1\n    raise LookupError('in a callback')")
    shown = notebook.send_comm(target, CLICK)
    assert "LookupError: in a callback" in shown.traceback
    assert shown.last_line == CALLBACK_WENT_BACK
    assert stored("half") is None
    assert notebook.ok("'half' in root").result == "False"


def test_failed_commit_is_shown(notebook, button):
    """A callback whose commit fails says why and stores nothing."""
    notebook.ok("def act(): root['generator'] = (i for i in [])")
    shown = notebook.send_comm(button, CLICK)
    assert "root['generator'] is a generator" in shown.traceback
    assert "Nothing of this callback was stored" in shown.traceback
    notebook.ok("def act(): root['generator'] = 1")
    notebook.send_comm(button, CLICK)
    assert stored("generator") == 1


def test_message_during_a_cell_waits(notebook, button):
    """A click while a cell computes is handled afterwards, in a transaction after the cell's."""
    notebook.ok("def act(): root['order'] = root.get('order', '') + 'callback'")
    message = notebook.start("import time\nprint('on', flush=True)\ntime.sleep(0.5)\nroot['order'] = 'cell '")
    click = notebook.send_comm(button, CLICK, wait=False)
    assert not click.order
    assert notebook.finish(message).status == "ok"
    notebook.ok("1")  # behind the click
    assert stored("order") == "cell callback"


def test_callback_while_a_cell_awaits_belongs_to_the_cell(notebook, button):
    """One connection has one transaction at a time: what the callback stores is committed by the cell, or goes back."""
    notebook.ok("import asyncio\ndef act():\n    root['within'] = 1\n    clicked.set()")
    waiting = "clicked = asyncio.Event()\nprint('on', flush=True)\nawait clicked.wait()\n"
    message = notebook.start(waiting + "print('in root:', root['within'], flush=True)\nraise RuntimeError('cell')")
    notebook.send_comm(button, CLICK, wait=False)
    assert "in root: 1" in (failed := notebook.finish(message)).stdout
    assert failed.status == "error"
    assert stored("within") is None
    message = notebook.start(waiting)
    notebook.send_comm(button, CLICK, wait=False)
    assert notebook.finish(message).status == "ok"
    assert stored("within") == 1


def test_callback_that_raises_fails_the_awaiting_cell(notebook, button):
    """Half of a callback must not be committed by the cell it belongs to."""
    notebook.ok("def act():\n    root['inner'] = 1\n    clicked.set()\n    raise LookupError('inner')")
    message = notebook.start(
        "clicked = asyncio.Event()\nprint('on', flush=True)\nroot['around'] = 1\nawait clicked.wait()"
    )
    notebook.send_comm(button, CLICK, wait=False)
    cell = notebook.finish(message)
    assert (cell.status, cell.ename) == ("error", "LookupError")
    assert WITH_CELL_WENT_BACK not in cell.last_line
    assert (stored("inner"), stored("around")) == (None, None)


def test_comm_that_fails_to_open_aborts(notebook):
    """Opening a comm from the front end runs code in the kernel, which is a transaction as well."""
    notebook.ok("def opened(comm, message):\n    root['opened'] = 1\n    assert message['content']['data']['good']")
    notebook.ok("get_ipython().kernel.comm_manager.register_target('opens', opened)")
    for good, left in ((False, None), (True, 1)):
        content = {"comm_id": f"opening-{good}", "target_name": "opens", "data": {"good": good}}
        notebook.client.shell_channel.send(notebook.client.session.msg("comm_open", content))
        notebook.ok("1")
        assert stored("opened") == left
