"""The design that all pages share: light and dark, wide and narrow, on screen and on paper."""

from __future__ import annotations

BASE = """\
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 var(--font)}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:18px;margin:36px 0 10px}
h3{font-size:16px;line-height:1.35;margin:0;overflow-wrap:anywhere}
p{margin:0 0 10px}
.quiet{color:var(--quiet)}
.small{font-size:13px}
code{font-size:.92em;background:var(--track);border-radius:4px;padding:1px 5px;overflow-wrap:anywhere}
.card{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:18px 20px}
.wide{overflow-x:auto;scrollbar-width:thin;--shade:color-mix(in srgb,var(--quiet) 55%,transparent);
 background:linear-gradient(90deg,var(--card) 40%,transparent) 0 0/40px 100% local no-repeat,
 linear-gradient(270deg,var(--card) 40%,transparent) 100% 0/40px 100% local no-repeat,
 linear-gradient(90deg,var(--shade),transparent) 0 0/14px 100% scroll no-repeat,
 linear-gradient(270deg,var(--shade),transparent) 100% 0/14px 100% scroll no-repeat}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th{font-weight:400;font-size:12px;color:var(--quiet);text-align:right;padding:0 0 2px 10px}
td{padding:2px 0 2px 10px;text-align:right;font-variant-numeric:tabular-nums;vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:0;overflow-wrap:anywhere}
@media(max-width:520px){main{padding:20px 14px 40px}.card{padding:14px}}
@media print{body,.wide{background:none}.card{break-inside:avoid}}
"""
"""What every page has."""

COLOURS = (
    ("page", "#f6f7f9", "#11151c"),
    ("card", "#fff", "#1a202a"),
    ("text", "#1a2230", "#e6eaf0"),
    ("quiet", "#5b6677", "#97a3b4"),
    ("rule", "#e1e5eb", "#2c3542"),
    ("track", "#eef1f5", "#242c38"),
)
"""Names of the colours that every page has, in the light and in the dark."""


def root(*own: tuple[str, str, str]) -> str:
    """The rules that give colours their values, by the reader's wish for light or dark.

    Args:
        own: further colours of a page, each a name, its light and its dark value.
    """
    colours = (*COLOURS, *own)
    light, dark = (";".join(f"--{colour[0]}:{colour[side]}" for colour in colours) for side in (1, 2))
    font = '--font:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif'
    return f":root{{color-scheme:light dark;{font};\n {light}}}\n@media(prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
