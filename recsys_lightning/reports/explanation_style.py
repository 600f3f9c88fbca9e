"""The style of the page of explanations: the design of all pages, and what only this one has."""

from __future__ import annotations

from recsys_lightning.reports.style import BASE, root

KINDS = 6
"""So many kinds of attributes have a colour of their own, `kind0` and on; further ones share them."""

_OWN = (
    ("base", "#64748b", "#94a3b8"),
    ("kind0", "#0f766e", "#2dd4bf"),
    ("kind1", "#b45309", "#fbbf24"),
    ("kind2", "#7c3aed", "#a78bfa"),
    ("kind3", "#be185d", "#f472b6"),
    ("kind4", "#1d4ed8", "#60a5fa"),
    ("kind5", "#4d7c0f", "#a3e635"),
)

_RULES = """\
h4{font-size:12px;font-weight:600;color:var(--quiet);margin:14px 0 4px}
.history{columns:3 260px;column-gap:32px;list-style:none;margin:0;padding:0;font-size:14px}
.history li{display:flex;gap:10px;break-inside:avoid;padding:3px 0}
.history .name{flex:1;overflow-wrap:anywhere}
.history time,.history b{color:var(--quiet);font-weight:400;font-variant-numeric:tabular-nums;white-space:nowrap}
.graph{display:block;width:100%;min-width:860px;height:auto;font:13px var(--font)}
.graph text{fill:var(--text);text-anchor:middle}
.graph .head{fill:var(--quiet);font-size:12px}
.graph .line{fill:none;stroke:var(--base);stroke-opacity:.4}
.graph .line:hover{stroke-opacity:1}
.graph .direct{stroke-dasharray:5 4}
.graph rect{fill:var(--card);stroke:var(--rule);stroke-width:1.2}
.graph .user rect{fill:var(--text);stroke:none}
.graph .user text{fill:var(--card)}
.graph .own rect,.graph .item rect{stroke:var(--base)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:12px 0 0;font-size:13px;color:var(--quiet)}
.legend i,.terms i{display:inline-block;width:11px;height:11px;margin-right:6px;border-radius:3px}
.legend i,.terms i{background:var(--base)}
.why{display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(min(100%,500px),1fr))}
.top{display:flex;gap:12px;align-items:baseline}
.top .rank{color:var(--quiet);font-variant-numeric:tabular-nums}
.top h3{flex:1}
.top .score{font-weight:600;font-variant-numeric:tabular-nums}
.stack{display:flex;height:12px;margin:10px 0 4px;background:var(--track);border-radius:4px;overflow:hidden}
.stack span{background:var(--base)}
.terms{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:13px;color:var(--quiet);font-variant-numeric:tabular-nums}
td.bar{width:34%;vertical-align:middle}
td.bar span{display:block;height:8px;border-radius:3px;background:var(--base)}
td.bar .minus{background:transparent;border:1.5px solid var(--base)}
.rare td{color:var(--quiet)}
.tried{border-top:1px solid var(--rule);margin:14px 0 0;padding:10px 0 0;font-size:13px;color:var(--quiet)}
"""

STYLE = f"{root(*_OWN)}{BASE}{_RULES}"

COLOURS = "".join(
    f".graph .kind{n}.line{{stroke:var(--kind{n})}}.graph .kind{n} rect{{stroke:var(--kind{n});stroke-width:1.6}}"
    f".legend .kind{n},.terms .kind{n},.stack .kind{n}{{background:var(--kind{n})}}h4.kind{n}{{color:var(--kind{n})}}\n"
    for n in range(KINDS)
)
