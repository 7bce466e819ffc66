"""Node A, whose key an attacker has, speaks for node B."""
from broker_lab import Broker


def test_status_of_b_signed_by_a_leaves_no_row(lab):
    with Broker(lab.bin) as s:
        a, b = s.w.fleet.nodes[:2]
        assert s.put(s.signed(b, a)) == ["REFUSED", "SIGNER"]
        assert s.put(s.signed(b, s.w.fleet.admin)) == ["REFUSED", "SIGNER"]
        assert s.rows() == []
        assert s.put(s.signed(a, a))[0] == "OK"
        assert [r[0] for r in s.rows()] == [a.id]


def test_node_of_no_roster_leaves_no_row(lab):
    with Broker(lab.bin) as s:
        stranger = s.b.Key(s.folder, "stranger")
        assert s.put(s.signed(stranger, stranger)) == ["REFUSED", "UNKNOWN"]
        assert s.rows() == []


def test_node_cannot_publish(lab):
    """The admin's operations are closed on the port that nodes reach."""
    with Broker(lab.bin) as s:
        for op in range(16, 32):
            assert s.w.public.ask(op, b"")[0] == "BAD"
        release = s.w.fleet.release(signer=s.w.fleet.nodes[0])
        assert s.w.publish(s.release[3], release)[:2] == ["REFUSED", "SIGNER"]
        assert s.w.public.ask(s.b.GET_HEAD) == ["OK", s.release[0]]
