/** The look of a report: light and dark after the reader's system, wide things scroll in themselves on a phone. Pure data. */
export const REPORT_STYLE = `
:root{--paper:#fff;--ink:#1c2330;--soft:#5a6475;--rule:#dfe3ea;--row:#f5f7fa;--s0:#2364c4;--s1:#d1601f;--s2:#1f8a5b;--s3:#8a4fc0;--s4:#b8860b;--s5:#c2345b;--s6:#1490a6;--s7:#6b7280}
@media (prefers-color-scheme:dark){:root{--paper:#14181f;--ink:#e6eaf1;--soft:#9aa5b8;--rule:#2c3442;--row:#1b212b;--s0:#6ea8ff;--s1:#ff9a5c;--s2:#5fd39b;--s3:#c79bff;--s4:#e8c15a;--s5:#ff8098;--s6:#5cd0e6;--s7:#aab4c4}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.2rem 1rem 3rem;max-width:62rem;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif}
h1{margin:0;font-size:1.5rem;line-height:1.25;font-weight:650}
header p{margin:.3rem 0 1.4rem;color:var(--soft)}
figure{margin:0 0 1.8rem}
figcaption{margin-bottom:.4rem;font-weight:600}
.wide{overflow-x:auto}
svg{display:block;width:100%;min-width:42rem;height:auto}
table{border-collapse:collapse;min-width:min(100%,36rem);font-variant-numeric:tabular-nums}
th,td{padding:.32rem .7rem;text-align:left;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{position:sticky;top:0;background:var(--paper);font-weight:600;color:var(--soft)}
td:first-child,th:first-child{padding-left:.2rem}
.n{text-align:right}
tbody tr:nth-child(even){background:var(--row)}
.none{padding:2rem 0;color:var(--soft)}
@media (max-width:40rem){body{font-size:14px;padding:1rem .7rem 2rem}th,td{padding:.3rem .45rem}}
@media print{body{max-width:none}svg{min-width:0}}
`;
