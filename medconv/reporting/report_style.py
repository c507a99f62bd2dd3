"""How a report looks: one style sheet, light and dark, without anything from a network."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --sheet: #ffffff;
  --card: #f6f8fa; --accent: #0a5ea8; --dot: #0a5ea8; --bad: #a61b1b; --badsheet: #fdf0ef;
  --shade: #1b1f2459; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b1; --line: #3a424c;
  --sheet: #12161b; --card: #1b2128; --accent: #7cc0ff; --dot: #7cc0ff; --bad: #ff9c93; --badsheet: #2d1a1a;
  --shade: #e6edf366; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--sheet); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); }
a { color: var(--accent); } :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -100rem; } .skip:focus { left: 1rem; top: .5rem; background: var(--sheet); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: .75rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; margin: 0; }
.card dt { color: var(--soft); font-size: .875rem; }
.card dd { margin: 0; } .card .big { font-size: 1.75rem; font-weight: 650; line-height: 1.25; }
.card .small { font-size: .8125rem; white-space: nowrap; color: var(--soft); }
.alert { background: var(--badsheet); border-left: 4px solid var(--bad); padding: .5rem 1rem; margin: 1rem 0; }
.bad { color: var(--bad); font-weight: 600; }
/* a shade at the edge where something is hidden: covers that scroll with the content lie over shades that stay */
.scroll, .plot { overflow-x: auto; background:
  linear-gradient(to right, var(--sheet) 50%, transparent) left / 2.5rem 100% local,
  linear-gradient(to left, var(--sheet) 50%, transparent) right / 2.5rem 100% local,
  linear-gradient(to right, var(--shade), transparent) left / .875rem 100% scroll,
  linear-gradient(to left, var(--shade), transparent) right / .875rem 100% scroll; background-repeat: no-repeat; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; margin: .5rem 0; }
caption { text-align: left; color: var(--soft); font-size: .875rem; padding: .25rem 0; }
th, td { padding: .3rem .45rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.wrap { white-space: normal; min-width: 20rem; }
tbody tr:hover { background: var(--card); } tfoot td, tfoot th { font-weight: 650; border-top: 2px solid var(--line); }
figure { margin: 1rem 0; } figcaption { color: var(--soft); font-size: .9rem; }
figure img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: .5rem; }
svg { width: 100%; height: auto; max-width: 60rem; display: block; }
.plot svg { min-width: 40rem; }
svg text { fill: var(--ink); font-size: 12px; } svg text.soft { fill: var(--soft); }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .box { fill: var(--dot); fill-opacity: .18; }
svg .middle { stroke: var(--dot); stroke-width: 2.5; }
svg .dot { fill: var(--dot); fill-opacity: .55; } svg .dot.fail { fill: var(--bad); fill-opacity: .9; }
details { margin: .75rem 0; } summary { cursor: pointer; font-weight: 600; }
@media print { nav, .skip { display: none; } figure, .card { break-inside: avoid; } }
"""
