"""The look of the page: light and dark, wide and narrow, on paper. No script, no font, no picture from elsewhere."""

CSS = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--faint:#59636e;--line:#d1d9e0;--soft:#f6f8fa;--blue:#0969da;
--good:#1a7f37;--bad:#c6232c;--wait:#7a4d00;--badsoft:#ffebe9;--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
@media(prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#e6edf3;--faint:#9198a1;--line:#3d444d;--soft:#151b23;
--blue:#4493f8;--good:#3fb950;--bad:#ff7b72;--wait:#d29922;--badsoft:#3c1618}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:84rem;padding:1rem 1.5rem 4rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.4rem 0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}
h3{font-size:1rem;margin:1rem 0 .3rem}p{margin:.3rem 0}
a{color:var(--blue)}.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:.5rem;background:var(--paper);padding:.3rem}
:focus-visible{outline:2px solid var(--blue);outline-offset:2px;border-radius:3px}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.6rem 0}
.faint,.note,dt{color:var(--faint)}.note{font-size:.8rem;margin:.1rem 0 .6rem}
.badge{display:inline-block;padding:.05rem .6rem;border-radius:1rem;border:1px solid;font-size:.9rem;vertical-align:middle}
.done,.ok{color:var(--good)}.failed,.rejected,.cancelled,.bad{color:var(--bad)}.waiting,.interrupted,.open,.running,.warn{color:var(--wait)}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:.5rem 1.2rem;margin:.8rem 0}
dl.facts div{border-left:3px solid var(--line);padding-left:.6rem}dt{font-size:.8rem}dd{margin:0;font-variant-numeric:tabular-nums}
code,pre,.mono{font-family:var(--mono);font-size:.85em}
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem;margin:.3rem 0;max-height:28rem;
overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}
.problem{border-left:4px solid var(--bad);background:var(--badsoft);padding:.5rem .8rem;margin:.5rem 0;border-radius:0 6px 6px 0}
.problem.call{border-left-width:2px}.way{margin:.6rem 0}
.graph{background:#fff;border:1px solid var(--line);border-radius:6px;padding:.5rem;overflow:auto;text-align:center}
.graph svg{max-width:100%;height:auto;max-height:44rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92em}
th,td{text-align:left;padding:.25rem .7rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word;min-width:3.2rem;max-width:30rem}
th{color:var(--faint);font-weight:600}td.n,th.n{text-align:right}.scroll{overflow-x:auto}.uses table{table-layout:fixed}.uses th:first-child{width:32%}
ul.tree,ul.tree ul{list-style:none;margin:0;padding:0}
ul.tree summary,ul.tree .leaf{display:grid;grid-template-columns:minmax(12rem,5fr) 5.5rem minmax(8rem,6fr);gap:.6rem;align-items:center;
padding:.1rem .2rem;cursor:pointer;list-style:none}
ul.tree summary::-webkit-details-marker{display:none}ul.tree summary:hover{background:var(--soft)}
.name::before{content:"▸ ";color:var(--faint);display:inline-block;width:1em;transition:none}details[open]>summary .name::before{content:"▾ "}
.time{text-align:right;color:var(--faint);font-size:.85em;white-space:nowrap}
svg.bar{display:block;width:100%;height:12px;background:linear-gradient(var(--line),var(--line)) center/100% 1px no-repeat}
.b{fill:var(--blue)}.b.e{fill:var(--bad)}.b.w{fill:var(--wait)}.b.t{fill:var(--good)}.b.m{fill:#8250df}
.inside{margin:.2rem 0 .8rem 1.4rem;border-left:2px solid var(--line);padding-left:.8rem}
.more>summary{display:block!important;color:var(--blue)}
.d1{padding-left:1rem}.d2{padding-left:2rem}.d3{padding-left:3rem}.d4{padding-left:4rem}.d5{padding-left:5rem}
.d6{padding-left:6rem}.d7{padding-left:7rem}.d8{padding-left:8rem}.d9{padding-left:9rem}
.remark{color:var(--faint);font-size:.85em}.choice{margin:.3rem 0 .6rem 1rem}
meter{width:6rem;height:.7rem;vertical-align:middle}
@media(max-width:46rem){body{padding:.6rem .7rem 3rem;font-size:14px}
ul.tree summary,ul.tree .leaf{grid-template-columns:1fr auto}svg.bar{grid-column:1/-1}
.d1,.d2,.d3,.d4,.d5,.d6,.d7,.d8,.d9{padding-left:.7rem}}
@media print{:root{--paper:#fff;--ink:#000;--faint:#444;--line:#bbb;--soft:#fff;--badsoft:#fff}body{max-width:none;font-size:10pt;padding:0}
nav,.skip{display:none}pre{max-height:none}details::details-content{content-visibility:visible;display:block;height:auto}
.problem,tr,summary,.leaf{break-inside:avoid}h2{break-after:avoid}}
"""
