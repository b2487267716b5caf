/**
 * Charts of a report as SVG text, drawn by echarts without a browser. The same rows give the same text, byte by byte. Colours are those
 * of the page around it, so that a chart follows its light and dark. Worker thread.
 */

export interface Chart {
  readonly title: string;
  readonly kind: 'line' | 'bar';
  /** Labels of the x axis. */
  readonly labels: readonly string[];
  readonly series: readonly { readonly name: string; readonly data: readonly (number | null)[] }[];
}

const WIDTH = 760;
const HEIGHT = 300;
/** Stand-ins that echarts takes for colours; the page's own are put in afterwards. */
const TEXT = '#0a0b0c';
const LINE = '#0a0b0d';
/** As many as the page defines: --s0 to --s7. */
const COLOURS = Array.from({ length: 8 }, (_, i) => `#0a0c0${i}`);

let drawing: Promise<(chart: Chart) => string> | undefined;

/** @returns a whole `<svg>` element. echarts is loaded by the first call: most processes draw nothing */
export async function chartSvg(chart: Chart, id: string): Promise<string> {
  drawing ??= load();
  const svg = (await drawing)(chart);
  return cleaned(svg, id, chart.title);
}

async function load(): Promise<(chart: Chart) => string> {
  const [core, charts, components, renderers] = await Promise.all([
    import('echarts/core'),
    import('echarts/charts'),
    import('echarts/components'),
    import('echarts/renderers'),
  ]);
  core.use([
    charts.LineChart,
    charts.BarChart,
    components.GridComponent,
    components.LegendComponent,
    renderers.SVGRenderer,
  ]);
  return (chart) => {
    const drawn = core.init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT });
    try {
      drawn.setOption(optionsOf(chart));
      return drawn.renderToSVGString();
    } finally {
      drawn.dispose();
    }
  };
}

function optionsOf({ kind, labels, series }: Chart): Record<string, unknown> {
  const text = { color: TEXT, fontFamily: 'sans-serif', fontSize: 12 };
  const axis = { axisLabel: text, axisLine: { lineStyle: { color: LINE } }, axisTick: { show: false } };
  const legend = series.length > 1;
  return {
    animation: false,
    color: COLOURS,
    textStyle: text,
    legend: {
      show: legend,
      type: 'plain',
      top: 0,
      left: 0,
      icon: 'roundRect',
      itemWidth: 12,
      itemHeight: 4,
      textStyle: text,
    },
    grid: {
      left: 8,
      right: 12,
      top: legend ? 30 + 24 * Math.floor((series.length - 1) / 8) : 12,
      bottom: 8,
    },
    xAxis: { type: 'category', data: [...labels], boundaryGap: kind === 'bar', ...axis },
    yAxis: {
      type: 'value',
      scale: kind === 'line',
      splitLine: { lineStyle: { color: LINE } },
      axisLabel: { ...text, formatter: String },
    },
    series: series.map(({ name, data }) => ({
      name,
      type: kind,
      data: [...data],
      // A point alone between gaps has no line and would not be seen.
      showSymbol: kind === 'line' && (data.length < 3 || data.some((value, i) => isAlone(data, value, i))),
      symbol: 'circle',
      symbolSize: 4,
      lineStyle: { width: 1.8 },
      barMaxWidth: 36,
    })),
  };
}

function isAlone(data: readonly (number | null)[], value: number | null, i: number): boolean {
  return value !== null && (data[i - 1] ?? null) === null && (data[i + 1] ?? null) === null;
}

/** Without what is for mice, and with names that are unique in the page and the same in each run. */
function cleaned(svg: string, id: string, title: string): string {
  const colours = new Map([
    [TEXT, 'var(--ink)'],
    [LINE, 'var(--rule)'],
    ...COLOURS.map((c, i) => [c, `var(--s${i})`] as const),
  ]);
  return svg
    .replace(/<style[^>]*>[^]*?<\/style>/g, '')
    .replace(/ (?:class|ecmeta_\w+|pointer-events|baseProfile|version|xmlns:xlink)="[^"]*"/g, '')
    .replace(/zr\d+-/g, `${id}-`)
    .replace(/ (fill|stroke)="(#0a0[bc]0[0-9a-d])"/g, (whole, name: string, colour: string) => {
      const own = colours.get(colour);
      return own === undefined ? whole : ` style="${name}:${own}"`;
    })
    .replace(/ fill="#fff"/g, ' style="fill:var(--paper)"')
    .replace(/ style="([^"]*)"([^>]*?) style="([^"]*)"/g, ' style="$1;$3"$2')
    .replace(/ style="([^"]*)"([^>]*?) style="([^"]*)"/g, ' style="$1;$3"$2')
    .replace('<svg ', `<svg role="img" aria-label="${title.replace(/[&<>"]/g, ' ')}" `)
    .replace(/\s*\n\s*/g, '\n')
    .trim();
}
