"""The CloudMailin dialect: sending, outbound messages, and the rest of its Core API.

    dialect.py   which request is for what, who may ask, and what webhooks post
    message.py   the two forms of a message, and all that can be wrong with one
    raw.py       a raw RFC 5322 message, as far as it must agree with its request
    outbound.py  what became of the messages sent
    core.py      the Core API: its paths, and how often it may be asked
    inbound.py   addresses, what they received, and custom domains
    domains.py   sending domains and their verification
    form.py      how a request's fields are read, and the flaws they can have
    search.py    the language of `query`, and pages of lists

The documents fix paths, fields, most limits and the form of errors, not the words of
errors, nor which of the statuses 400, 403 and 422 stands for which flaw. Chosen here:

- 400 for a body that is no JSON; 422 for everything wrong with its fields, its size,
  and its recipients; 404 for a path, an id or a method that is not there;
- 401 without a token, with the token `wrong`, or with the username or account id
  `wrong`; any other will do;
- 403 for mail from a domain with `unverified` in it, or from one that was added to the
  sending domains here and is not verified yet;
- 201 for what was created; a deletion is done at once;
- calls of the Core API are not limited unless `CloudMailin.core.calls_per_minute` is
  set; of the documents' earlier text, 5 is the real number;
- a username that begins with `7e57` is a test account: always in test mode. What is in
  test mode is registered and nothing else becomes of it.

Source:
    CloudMailin, "CloudMailin Send Email Message API" and "The CloudMailin Core API";
    CloudMailin's public clients and earlier OpenAPI file where these are silent.
"""

from engine.sandbox.cloudmailin.dialect import CloudMailin

__all__ = ["CloudMailin"]
