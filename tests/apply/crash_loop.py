"""The power goes in the middle of the switch, four times: the release is given up and the old system stays. Twenty releases that
change other hosts only do not try it again."""
from life import Life
from machine import Machine

ATTEMPTS_MAX = 3
OTHERS = 20


def main():
    m = Machine()
    life = Life(m, mode="hang", switch_seconds=60)
    tries = 0
    for _ in range(ATTEMPTS_MAX + 1):
        life.node.start()
        life.until(lambda: m.switched(life.new, "test") > 0 or life.says("failed") or life.says("rolled-back"), "the switch, or its end")
        tries += m.switched(life.new, "test")
        life.node.close()
        m.power_off()
        m.power_on()
        assert m.boot() == life.old
    assert tries == ATTEMPTS_MAX, tries

    life.node.start()
    life.until(lambda: life.node.is_idle(), "rest")
    given_up = [s for s in life.said if s["code"] == "ATTEMPTS"]
    assert given_up and given_up[-1]["attempt"] == ATTEMPTS_MAX, life.said
    for number in range(OTHERS):
        release = life.release(2 + number, life.new)
        life.node.deliver(release)
        life.until(lambda: life.said[-1]["release"] == release.number, "release %d" % number)
        assert life.said[-1]["code"] == "ATTEMPTS", life.said[-1]
    assert m.switched(life.new, "test") == 0
    assert m.ends() == (life.old,) * 3
    life.node.stop()
    print("tried %d times, then not once by %d more releases" % (tries, OTHERS))


main()
