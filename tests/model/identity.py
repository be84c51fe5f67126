# SPDX-License-Identifier: Apache-2.0
"""The canonical form of identities once more, from the words of RFC 3261 19.1.4 and 25.1, RFC 3966 3
and 5.1.1 and the contract in common/identity.h; by regular expressions, so that it has no step in
common with the C."""
import re

IDENTITY_MAX = 254
CN_MAX = 192

ALPHANUM = rb"A-Za-z0-9"
MARK = rb"\-_.!~*'()"
USER_UNRESERVED = rb"&=+$,;?/"
PLAIN = rb"[" + ALPHANUM + MARK + USER_UNRESERVED + rb"]"
ESCAPED = rb"%[0-9A-Fa-f]{2}"
USER = re.compile(rb"(?:" + PLAIN + rb"|" + ESCAPED + rb")*")
TEL_USER = re.compile(rb"(?:" + PLAIN + rb"|#|" + ESCAPED + rb")*")
# RFC 3966 3: phonedigit for a sip user (numbers alone), phonedigit-hex for tel.
SIP_NUMBER = re.compile(rb"(\+?(?=[\-.()]*[0-9])[0-9\-.()]+)(;.*)?", re.DOTALL)
TEL_NUMBER = re.compile(
    rb"(\+?(?=[\-.()]*(?:[0-9A-Fa-f*]|%23))(?:[0-9A-Fa-f*\-.()]|%23)+)(;.*)?", re.DOTALL
)
LABEL = rb"(?!-)[" + ALPHANUM + rb"\-]{1,63}(?<!-)"
TOP_LABEL = rb"(?=[A-Za-z])" + LABEL
HOST_NAME = re.compile(rb"(?:" + LABEL + rb"\.)*" + TOP_LABEL)
OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(OCTET + (rb"\." + OCTET) * 3)


def unescape(escape):
    """RFC 3261 19.1.4: an escaped character equals itself where it may stand as it is."""
    octet = bytes.fromhex(escape[1:].decode())
    return octet if re.fullmatch(PLAIN, octet) else escape.upper()


def user_of(user, tel):
    if not (TEL_USER if tel else USER).fullmatch(user):
        return None
    if re.search(rb"%(?:[01][0-9A-Fa-f]|7[Ff])", user):  # controls, NUL too
        return None
    user = re.sub(ESCAPED, lambda found: unescape(found[0]), user)
    return user.replace(b"#", b"%23")


def number_of(user, tel):
    found = (TEL_NUMBER if tel else SIP_NUMBER).fullmatch(user)
    if not found:
        return None if tel else user
    return re.sub(rb"[\-.()]", b"", found[1]) + (found[2] or b"")


def host_of(host):
    """Names and IPv4; IPv6 is checked by its properties instead."""
    host = host.removesuffix(b".")
    if len(host) > 253 or not (HOST_NAME.fullmatch(host) or IPV4.fullmatch(host)):
        return None
    return host.lower()


def from_parts(user, host, number):
    """(text, size of its user part), or None."""
    tel = number and host == b""
    user = user_of(user, tel)
    if user is None:
        return None
    if number and user:
        user = number_of(user, tel)
        if user is None:
            return None
    if len(user) > IDENTITY_MAX:
        return None
    if tel and user:
        return user, len(user)
    host = host_of(host)
    if host is None:
        return None
    text = user + b"@" + host if user else host
    return (text, len(user)) if len(text) <= IDENTITY_MAX else None


def from_text(text):
    text = text.strip(b" ")
    text = re.sub(rb"^sips?:", b"", text, flags=re.IGNORECASE)
    user, at, host = text.partition(b"@")
    if not at:
        user, host = b"", text
    elif not user:
        return None
    return from_parts(user, host, False) if host and not host.startswith(b"[") else None


def service(text):
    """The canonical text of a service, from its name with or without urn:service: (RFC 5031 4)."""
    name = re.sub(rb"^urn:service:", b"", text, flags=re.IGNORECASE)
    if len(name) > IDENTITY_MAX - 12:
        return None
    if not all(re.fullmatch(LABEL, label) for label in name.split(b".")):
        return None
    return b"urn:service:" + name.lower()


def covered(identity, entry):
    """Equal, or in the entry's domain; a tel: number is covered by nothing that could be a domain."""
    text, user_size = identity
    if not entry:
        return False
    if user_size == len(text):
        return text == entry and text[:1] in b"+0123456789"
    domain = text[user_size + 1 :] if user_size else text
    return entry in (text, domain)


def is_number(identity):
    text, user_size = identity
    return bool(re.fullmatch(rb"\+?[0-9]+", text[:user_size]))


def mac(cn, prefixes):
    pair = rb"[0-9A-Fa-f]{2}"
    address = re.compile(pair + (rb"[:\-.]?" + pair) * 5)
    cn = cn.strip(b" ")
    if not address.fullmatch(cn):
        fits = [p for p in prefixes if p and cn[: len(p)].lower() == p.lower()]
        if not fits:
            return None
        cn = cn[len(fits[0]) :].strip(b" ")
    return re.sub(rb"[:\-.]", b"", cn).upper() if address.fullmatch(cn) else None


def clean_utf8(data):
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in text)


def cn(form, given, prefixes):
    if form == "mac":
        return mac(given, prefixes)
    return given if 0 < len(given) <= CN_MAX and clean_utf8(given) else None
