"""The broker has a release and says that there is nothing in it for this node."""


def cases(w):
    good = w.release()
    yield "no-ticket-given", good.but(proven=None)
    yield "empty-file", good.but(proven=b"")
    left_out = w.release(without_me=True)
    yield "left-out-by-the-admin", left_out
    yield "anothers-ticket-instead", left_out.but(proven=left_out.provens[w.other.id])
    yield "new-machine", w.empty(w.now)


def test_an_empty_ticket_says_new_machine(lab):
    d = lab.daemon()
    d.start()
    before = d.status_files()
    d.deliver_and_wait(d.world.empty(d.world.now))
    fresh = [d.status(n) for n in d.status_files() if n not in before]
    assert fresh and fresh[-1]["state"] == "new" and fresh[-1]["code"] == "", fresh
    assert fresh[-1]["release"] == d.world.now
    d.stop()
    d.assert_nothing_ran()
