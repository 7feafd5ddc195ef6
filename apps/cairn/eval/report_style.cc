// SPDX-License-Identifier: Apache-2.0
// Blue and orange are told apart by all common kinds of colour vision, and kinds of marks differ in shape too.
#include "apps/cairn/eval/report_style.h"

namespace cairn {

std::string_view report_style() {
  return R"css(
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #5b6470; --rule: #d9dde2; --grid: #eaecef; --paper: #fff;
  --accent: #0060a8; --other: #8a94a0; --control: #b8530a;
  --h0: #fff; --h1: #eaf2fa; --h2: #d3e5f5; --h3: #b5d4ed; --h4: #8fbde1; --h5: #64a2d2; --h6: #3c83bf; --h7: #1f67a5;
  --h8: #0f4c84; --h9: #07335f; --on-dark: #fff; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --quiet: #9aa4b0; --rule: #3a414a; --grid: #272c33; --paper: #15181c;
    --accent: #62b5f5; --other: #77818d; --control: #f0a35e;
    --h0: #15181c; --h1: #18222c; --h2: #1a2d3d; --h3: #1c3a52; --h4: #1e4a6b; --h5: #235d88; --h6: #5d9ccb; --h7: #86b9e0;
    --h8: #b3d5ef; --h9: #dcedfa; --on-dark: #0c1116; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 1120px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; font-weight: 650; }
h2 { font-size: 1.3rem; margin: 3rem 0 .25rem; padding-top: 1rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 2.25rem 0 .25rem; }
p { margin: .25rem 0 .75rem; max-width: 78ch; }
.quiet, figcaption, caption { color: var(--quiet); }
code { font: .93em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: break-word;
  unicode-bidi: isolate; }
figure { margin: .5rem 0 0; }
figcaption { font-size: 13px; max-width: 90ch; margin-bottom: .5rem; }
.scroll { overflow-x: auto; margin: .5rem 0 1.25rem; }
.scroll svg { display: block; width: 100%; min-width: 860px; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; line-height: 1.35; }
caption { text-align: left; font-size: 13px; padding: 0 0 .4rem; }
th, td { padding: .32rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid); }
th:first-child { padding-left: 0; }
thead th { border-bottom: 1px solid var(--ink); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; }
th small, td small { display: block; color: var(--quiet); font-size: 11px; font-weight: 400; white-space: nowrap; }
table:not(.text) thead th:not(:first-child), td.n { text-align: right; }
tbody th code, table.text td:nth-child(3) { white-space: nowrap; }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
.none { color: var(--quiet); }
tr.control th code, tr.control th small { color: var(--control); }
table.listing thead th:nth-child(2), table.listing td:not(.n) { text-align: left; }
table.listing { font-size: 12px; }
table.listing small { font-size: 10px; }
table.listing th, table.listing td { padding: .25rem .35rem; }
table.listing th:first-child, table.heat th:first-child { padding-left: 0; }
table.kld thead th:nth-child(2) { text-align: right; }
table.heat td { text-align: center; vertical-align: middle; border: 2px solid var(--paper); min-width: 2.6rem; padding: .3rem .2rem; }
table.heat thead th:not(:first-child) { text-align: center; padding: .3rem .2rem; }
table.heat td:last-child, table.heat thead th:last-child { border-left: 12px solid var(--paper); font-weight: 600; }
.h0 { background: var(--h0); } .h1 { background: var(--h1); } .h2 { background: var(--h2); } .h3 { background: var(--h3); }
.h4 { background: var(--h4); } .h5 { background: var(--h5); }
.h6 { background: var(--h6); color: var(--on-dark); } .h7 { background: var(--h7); color: var(--on-dark); }
.h8 { background: var(--h8); color: var(--on-dark); } .h9 { background: var(--h9); color: var(--on-dark); }
details { border-bottom: 1px solid var(--grid); }
summary code, dd code { overflow-wrap: anywhere; }
summary { padding: .45rem 0; cursor: pointer; }
summary .quiet { font-size: 12.5px; margin-left: .5em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; margin: .75rem 0 1rem; font-size: 13.5px; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
svg text { fill: var(--ink); font: 12px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
svg .tick, svg .legend { fill: var(--quiet); font-size: 11.5px; font-variant-numeric: tabular-nums; }
svg .axis-title { fill: var(--quiet); font-size: 12.5px; }
svg .facet { font-size: 13px; font-weight: 600; }
svg .label { font: 12px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--quiet); }
svg .label.best, svg .name .label { fill: var(--ink); }
svg line, svg polyline { fill: none; }
.grid { stroke: var(--grid); } .axis { stroke: var(--quiet); } .break { stroke: var(--rule); stroke-dasharray: 2 4; }
.front { stroke: var(--accent); stroke-width: 1.5; } .leader { stroke: var(--other); stroke-width: .8; }
.level { stroke: var(--control); stroke-dasharray: 6 4; }
.whisker { stroke: var(--other); stroke-width: 1.4; }
.whisker.best { stroke: var(--accent); } .whisker.control { stroke: var(--control); }
.dot { fill: var(--other); stroke: var(--paper); } .dot.best { fill: var(--accent); }
.dot.small { stroke: none; }
.dot.control { fill: var(--paper); stroke: var(--control); stroke-width: 1.6; }
.series { stroke: var(--accent); stroke-width: 1.4; } .series.control { stroke: var(--control); }
.reference { stroke: var(--other); stroke-width: 1.4; opacity: .65; }
@media print {
  @page { size: A4 portrait; margin: 12mm; }
  @page wide { size: A4 landscape; margin: 10mm; }
  .all { page: wide; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .scroll { overflow: visible; } .scroll svg { min-width: 0; }
  figure, tr, table.summary, table.heat { break-inside: avoid; } h3 { margin-top: 1rem; } h2, h3, caption { break-after: avoid; }
  table { font-size: 8.5pt; } table.listing { font-size: 6.8pt; } th small, td small { font-size: 6.5pt; }
  details::details-content { content-visibility: visible; block-size: auto; display: block; }
}
)css";
}

}  // namespace cairn
