"""`sekisho-host`: the only part that speaks to the hypervisor. Runs on the KVM host, looks into no packet."""
