# SPDX-License-Identifier: Apache-2.0
"""What system tests are written with.

    helpers.py  SQL, RESP, waiting, names of a test's own
    sip.py      messages, read and built header by header
    agent.py    a user agent: connections, inbox, requests, responses, calls
    phone.py    a phone with a client certificate on TLS
    mapctl.py   mapctl's exit status and output
    baresip.py  a real phone program
    pbx.py      a plain TCP server as a route's next hop
    partner.py  a server of another domain, over TLS with its certificate
    relay.py    a wire between proxy and mapperd that can be slowed down, cut or spoken into
"""
from .agent import SDP, Agent, Call, Stream, establish
from .baresip import Baresip
from .helpers import cn_of, psycopg2_connect, resp, sql, unique, wait_until
from .mapctl import mapctl, mapctl_json
from .partner import Federation, Partner, permit
from .pbx import Pbx
from .phone import Phone, certificate, knows, provision, ready_phone
from .relay import Relay, use_relay
from .sip import Message, new_branch, new_call_id, new_tag, parameter_of, split_list, uri_of

__all__ = [
    "SDP",
    "Agent",
    "Baresip",
    "Call",
    "Federation",
    "Message",
    "Partner",
    "Pbx",
    "Phone",
    "Relay",
    "Stream",
    "certificate",
    "cn_of",
    "establish",
    "knows",
    "mapctl",
    "mapctl_json",
    "new_branch",
    "new_call_id",
    "new_tag",
    "parameter_of",
    "provision",
    "psycopg2_connect",
    "ready_phone",
    "resp",
    "split_list",
    "sql",
    "unique",
    "uri_of",
    "use_relay",
    "wait_until",
]
