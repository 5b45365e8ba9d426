"""Which metrics and labels a PromQL expression names. Whether it is PromQL is promtool's to say."""
import re

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`|\[[^\]]*\]|[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9][0-9a-zA-Z.]*|\S')
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "atan2"}


def names(expr):
    """[(metric, labels of its matchers)] and the labels of by, on and their like."""
    tokens = _TOKEN.findall(expr)
    metrics, grouped, at = [], set(), 0

    def until(closing):
        nonlocal at
        inside = []
        while at < len(tokens) and tokens[at] != closing:
            inside.append(tokens[at])
            at += 1
        at += 1
        return inside

    while at < len(tokens):
        token = tokens[at]
        at += 1
        if not _NAME.match(token):
            if token == "{":
                raise ValueError("a selector without a metric's name: " + expr)
            continue
        following = tokens[at] if at < len(tokens) else ""
        if token in _LISTS:
            if following == "(":
                at += 1
                grouped |= {t for t in until(")") if _NAME.match(t)}
        elif following == "(" or following in ("by", "without") or token in _WORDS:
            continue
        else:
            matchers = set()
            if following == "{":
                at += 1
                inside = until("}")
                matchers = {t for t, after in zip(inside, inside[1:]) if _NAME.match(t) and after in "=!"}
            metrics.append((token, matchers))
    return metrics, grouped
