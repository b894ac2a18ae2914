#include "eval/html_style.h"

namespace puyu {

const char* const kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #fff; --ink: #22252a; --soft: #646b75; --line: #e3e1dc; --grid: #ecebe7; --tint: #f3f1ec;
  --good: #18794e; --bad: #b3261e;
  --c0: #2f6fb7; --c1: #c8622a; --c2: #2a8c6a; --c3: #9a4f9e; --c4: #a98511; --c5: #6b7280;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15171a; --card: #1c1f23; --ink: #e4e6e9; --soft: #9aa2ad; --line: #2e3238; --grid: #282c31; --tint: #23272c;
    --good: #5cc795; --bad: #ff8f85;
    --c0: #6ea8e6; --c1: #ee9560; --c2: #5cc29d; --c3: #cf8dd3; --c4: #d9b64a; --c5: #a3abb6;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei", sans-serif;
  overflow-wrap: anywhere;
}
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.25; font-weight: 650; letter-spacing: -.01em; margin: 0; }
h2 { font-size: 1.3rem; font-weight: 650; margin: 3.2rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3, caption { font-size: 1rem; font-weight: 600; text-align: left; }
h3 { margin: 0 0 .6rem; }
caption { padding: 0 0 .5rem; }
p { max-width: 44rem; margin: .6rem 0; white-space: pre-line; }
.sub, footer { color: var(--soft); }
.sub { margin-top: .4rem; }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .85rem; white-space: pre-line; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin-top: 1.2rem; font-size: .92rem; }
a { color: var(--c0); text-decoration: none; } a:hover { text-decoration: underline; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .8rem; margin-top: 1.8rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.card b { display: block; font-size: 1.65rem; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .85rem; display: block; line-height: 1.4; }
.block { margin: 1.5rem 0; }
.panel { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { padding: .38rem .9rem .38rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 550; font-size: .85rem; white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.data { min-width: 50%; }
.talk { width: 100%; min-width: 36rem; table-layout: fixed; }
.talk td { white-space: pre-wrap; unicode-bidi: plaintext; line-height: 1.5; }
.talk td:first-child { color: var(--soft); }
.want { display: block; font-size: .82rem; }
.mark { font-weight: 700; margin-right: .4em; } .right { color: var(--good); } .wrong { color: var(--bad); }
.none { color: var(--soft); font-style: italic; }
pre {
  margin: 0; padding: .8rem 1rem; background: var(--tint); border-radius: .5rem; overflow-x: auto; overflow-wrap: normal;
  font: .84rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace;
}
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.3rem; font-size: .88rem; margin-bottom: .3rem; }
.legend i { display: inline-block; width: 1.1rem; height: .2rem; border-radius: .1rem; margin-right: .45rem; vertical-align: .25rem; }
.legend em { font-style: normal; color: var(--soft); font-variant-numeric: tabular-nums; margin-left: .4rem; }
.chart { display: block; width: 100%; min-width: 34rem; height: auto; font-size: 12px; font-variant-numeric: tabular-nums; }
.chart text { fill: var(--soft); } .chart .grid { stroke: var(--grid); } .chart .axis { stroke: var(--soft); stroke-opacity: .5; }
.chart .phase { stroke: var(--soft); stroke-dasharray: 3 4; } .chart .phase-name { fill: var(--ink); font-weight: 550; }
.chart polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); }
.c3 { --c: var(--c3); } .c4 { --c: var(--c4); } .c5 { --c: var(--c5); }
polyline { stroke: var(--c); } .chart .pale { stroke-width: 1; stroke-opacity: .35; } circle, rect.fill { fill: var(--c); } .legend i { background: var(--c); }
.bars { width: 100%; border-spacing: 0; } .bars td { border: 0; padding: .22rem .8rem .22rem 0; vertical-align: middle; }
.bars td:first-child { width: 30%; } .bars td:last-child { padding-right: 0; } .bars .num { width: 1%; }
.bars svg { display: block; width: 100%; height: 1.05rem; } .bars rect.back { fill: var(--tint); }
.bars .note { display: block; color: var(--soft); font-size: .82rem; line-height: 1.35; }
@media (max-width: 40rem) { main { padding: 1.6rem 1rem 3rem; } h1 { font-size: 1.6rem; } .card b { font-size: 1.35rem; } }
@media print { body { background: #fff; } .panel, .card, tr { break-inside: avoid; } nav { display: none; } }
)css";

}  // namespace puyu
