"""On a kernel where br_netfilter is a module: it is not there before somebody needs it."""

from tests.vm.machine import Machine

LOAD = "from appliance.steering.backend import Backend, choose_backend as c; c(None, Backend.BR_NETFILTER)"
JUDGE = "from appliance.steering.backend import Backend, judge_backend as j; "
JUDGE += "print(j(None, Backend.BR_NETFILTER)[1])"


def test_loading_br_netfilter_turns_it_on_for_no_bridge(machine: Machine) -> None:
    machine.run(["modprobe", "-r", "br_netfilter"])
    assert machine.python("-c", JUDGE).output == "False\n"
    assert machine.python("-c", LOAD).status == 0
    calls = machine.run(["sh", "-c", "cat /proc/sys/net/bridge/bridge-nf-call-*"])
    assert calls.output.split() == ["0", "0", "0"]
