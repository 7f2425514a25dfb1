#!/bin/sh
# Two machines by ssh, with the same versions of Python, torch, Ray and ltdd-tui. HEAD is this one's address.
set -e
HEAD=10.0.0.1 OTHER=10.0.0.2
export RAY_AUTH_MODE=token            # whoever reaches the port may run code: Ray asks for a token
ray get-auth-token --generate         # in ~/.ray/auth_token
scp -r ~/.ray "$OTHER":
ray start --head --node-ip-address "$HEAD" --port 6379
ssh "$OTHER" "RAY_AUTH_MODE=token ray start --address $HEAD:6379 --node-ip-address $OTHER"
ltdd-tui doctor --cluster auto
ltdd-tui sweep digits --cluster auto
ssh "$OTHER" ray stop; ray stop
