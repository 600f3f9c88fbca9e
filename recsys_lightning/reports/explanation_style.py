"""The style of the page of explanations: light and dark, wide and narrow, on screen and on paper."""

KINDS = 6
"""So many kinds of attributes have a colour of their own, `kind0` and on; further ones share them."""

STYLE = """\
:root{color-scheme:light dark;--font:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
 --page:#f6f7f9;--card:#fff;--text:#1a2230;--quiet:#5b6677;--rule:#e1e5eb;--track:#eef1f5;--base:#64748b;
 --kind0:#0f766e;--kind1:#b45309;--kind2:#7c3aed;--kind3:#be185d;--kind4:#1d4ed8;--kind5:#4d7c0f}
@media(prefers-color-scheme:dark){:root{
 --page:#11151c;--card:#1a202a;--text:#e6eaf0;--quiet:#97a3b4;--rule:#2c3542;--track:#242c38;--base:#94a3b8;
 --kind0:#2dd4bf;--kind1:#fbbf24;--kind2:#a78bfa;--kind3:#f472b6;--kind4:#60a5fa;--kind5:#a3e635}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 var(--font)}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:18px;margin:36px 0 10px}
h3{font-size:16px;line-height:1.35;margin:0;overflow-wrap:anywhere}
h4{font-size:12px;font-weight:600;color:var(--quiet);margin:14px 0 4px}
p{margin:0 0 10px}
.quiet{color:var(--quiet)}
.small{font-size:13px}
code{font-size:.92em;background:var(--track);border-radius:4px;padding:1px 5px}
.card{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:18px 20px}
.history{columns:3 260px;column-gap:32px;list-style:none;margin:0;padding:0;font-size:14px}
.history li{display:flex;gap:10px;break-inside:avoid;padding:3px 0}
.history .name{flex:1;overflow-wrap:anywhere}
.history time,.history b{color:var(--quiet);font-weight:400;font-variant-numeric:tabular-nums;white-space:nowrap}
.wide{overflow-x:auto}
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
table{border-collapse:collapse;width:100%;font-size:13.5px}
th{font-weight:400;font-size:12px;color:var(--quiet);text-align:right;padding:0 0 2px 10px}
td{padding:2px 0 2px 10px;text-align:right;font-variant-numeric:tabular-nums;vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:0;overflow-wrap:anywhere}
td.bar{width:34%;vertical-align:middle}
td.bar span{display:block;height:8px;border-radius:3px;background:var(--base)}
td.bar .minus{background:transparent;border:1.5px solid var(--base)}
.rare td{color:var(--quiet)}
.tried{border-top:1px solid var(--rule);margin:14px 0 0;padding:10px 0 0;font-size:13px;color:var(--quiet)}
@media print{body{background:none}.card{break-inside:avoid}}
"""

COLOURS = "".join(
    f".graph .kind{n}.line{{stroke:var(--kind{n})}}.graph .kind{n} rect{{stroke:var(--kind{n});stroke-width:1.6}}"
    f".legend .kind{n},.terms .kind{n},.stack .kind{n}{{background:var(--kind{n})}}h4.kind{n}{{color:var(--kind{n})}}\n"
    for n in range(KINDS)
)
