"""The style of the page of a run: the design of all pages, and what only this one has."""

from __future__ import annotations

from recsys_lightning.reports.style import BASE, root

_OWN = (
    ("alert", "#a61b1b", "#ff9b93"),
    ("alert-page", "#fdf0ef", "#3a1d1f"),
    ("s0", "#0b69b3", "#5cb3f2"),
    ("s1", "#c2500a", "#f2a25c"),
    ("s2", "#0a7d5e", "#45cfa3"),
    ("s3", "#a3407c", "#e59bc9"),
    ("s4", "#5b6677", "#b3bdcb"),
    ("s5", "#8a6d00", "#e0cb52"),
)
"""Series: told apart with any of the usual kinds of colour vision, on either background."""

_RULES = """\
.remark{border-left:4px solid var(--quiet);background:var(--card);border-radius:0 8px 8px 0;padding:8px 14px}
.remark{margin:10px 0}
.remark.grave{border-color:var(--alert);background:var(--alert-page);color:var(--alert);font-weight:600}
.tiles{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));margin:18px 0}
.tiles div{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:12px 16px}
.tiles span{display:block;font-size:13px;color:var(--quiet)}
.tiles b{display:block;font-size:25px;line-height:1.3;font-weight:650;font-variant-numeric:tabular-nums}
.tiles .note{font-variant-numeric:tabular-nums}
nav{display:flex;flex-wrap:wrap;gap:6px 8px;margin:18px 0 0;font-size:13px}
nav a{color:var(--text);text-decoration:none;border:1px solid var(--rule);border-radius:99px;padding:3px 11px}
nav a:hover,nav a:focus-visible{background:var(--track)}
.panels{display:grid;gap:16px;grid-template-columns:repeat(2,minmax(0,1fr))}
.panels .whole{grid-column:1/-1}
.split{display:grid;gap:0 28px;grid-template-columns:minmax(0,4fr) minmax(0,5fr);align-items:start}
.card h3{margin-bottom:10px}
.card>:last-child{margin-bottom:0}
.card p{font-size:14px;margin:10px 0}
figure{margin:0 0 10px}
figcaption{font-size:13px;color:var(--quiet);margin-top:6px}
.plot{display:block;width:100%;max-width:560px;height:auto;margin:0 auto;font-family:var(--font);
 stroke-linejoin:round;font-variant-numeric:tabular-nums}
.card .left{text-align:left}
.card .left:not(:first-child){padding-left:18px;overflow-wrap:anywhere;min-width:4em}
.card td span{display:block;color:var(--quiet);font-size:12.5px}
.card td:not(.left){white-space:nowrap}
.card th:first-child,.card td:first-child{overflow-wrap:break-word}
.card td span{display:block;color:var(--quiet);font-size:12.5px}
.panels:not(:has(>.whole))>.card:last-child:nth-child(odd){grid-column:1/-1}
th{vertical-align:bottom}
tbody tr{border-top:1px solid var(--rule)}
.panels td{padding-top:4px;padding-bottom:4px}
ul{margin:0;padding-left:20px;font-size:14px}
li{margin:3px 0}
summary{cursor:pointer;font-size:14px}
pre{overflow-x:auto;font-size:12.5px;line-height:1.45;margin:10px 0 0}
@media(max-width:520px){.card td:first-child:not(:has(+.left)){min-width:5.5em}}
@media(max-width:820px){.panels,.split{grid-template-columns:minmax(0,1fr)}}
@media print{nav{display:none}.panels{display:block}.card{margin-bottom:12px}}
"""

STYLE = f"{root(*_OWN)}{BASE}{_RULES}"
