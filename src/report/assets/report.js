// Draws each figure's data with Chart.js in place of its static SVG, and switches between light and dark.
(() => {
  'use strict';
  const root = document.documentElement;
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const charts = [];

  // #theme=dark in the address wins, then what was chosen before, then the system's preference.
  const themes = ['auto', 'light', 'dark'];
  const button = document.getElementById('theme');
  const stored = () => { try { return localStorage.getItem('redline-theme'); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem('redline-theme', theme); } catch { /* private mode */ } };
  let theme = (location.hash.match(/theme=(light|dark)/) || [])[1] || stored() || 'auto';
  if (!themes.includes(theme)) theme = 'auto';
  const applyTheme = () => {
    if (theme === 'auto') root.removeAttribute('data-theme'); else root.setAttribute('data-theme', theme);
    button.textContent = 'Theme: ' + theme;
    charts.forEach((chart) => { paint(chart); chart.update('none'); });
  };
  button.addEventListener('click', () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    store(theme);
    applyTheme();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', applyTheme);
  button.hidden = false;

  const kPalette = 8;
  const marks = ['circle', 'rect', 'triangle', 'rectRot'];
  const color = (index) => css('--s' + index % kPalette);

  // Whiskers of the 95% intervals, and a band between them along lines. low and high are in shown units.
  const intervals = {
    id: 'intervals',
    each(chart, draw) {
      chart.data.datasets.forEach((dataset, i) => {
        const meta = chart.getDatasetMeta(i);
        if (!meta.hidden && chart.isDatasetVisible(i)) draw(dataset, meta.data, chart.scales.y);
      });
    },
    edge(scale, value) {
      return scale.type === 'logarithmic' && value <= 0 ? scale.bottom : Math.min(scale.bottom, Math.max(scale.top, scale.getPixelForValue(value)));
    },
    beforeDatasetsDraw(chart) {
      const {ctx} = chart;
      this.each(chart, (dataset, elements, scale) => {
        if (dataset.type !== 'line') return;
        let run = [];
        const fill = () => {
          if (run.length > 1) {
            ctx.save();
            ctx.globalAlpha = 0.14;
            ctx.fillStyle = dataset.borderColor;
            ctx.beginPath();
            run.forEach(([x, , high]) => ctx.lineTo(x, high));
            run.reverse().forEach(([x, low]) => ctx.lineTo(x, low));
            ctx.fill();
            ctx.restore();
          }
          run = [];
        };
        dataset.data.forEach((point, i) => {
          if (!point || point.low == null || !point.valid) return fill();
          run.push([elements[i].x, this.edge(scale, point.low), this.edge(scale, point.high)]);
        });
        fill();
      });
    },
    afterDatasetsDraw(chart) {
      const {ctx} = chart;
      this.each(chart, (dataset, elements, scale) => {
        ctx.save();
        ctx.lineWidth = 1.5;
        ctx.strokeStyle = dataset.type === 'bar' ? css('--ink') : dataset.borderColor;
        dataset.data.forEach((point, i) => {
          if (!point || point.low == null) return;
          const x = elements[i].x, low = this.edge(scale, point.low), high = this.edge(scale, point.high);
          if (Math.abs(low - high) < 0.5) return;
          ctx.beginPath();
          ctx.moveTo(x, low); ctx.lineTo(x, high);
          ctx.moveTo(x - 4, low); ctx.lineTo(x + 4, low);
          ctx.moveTo(x - 4, high); ctx.lineTo(x + 4, high);
          ctx.stroke();
        });
        ctx.restore();
      });
    },
  };

  const paint = (chart) => {
    chart.data.datasets.forEach((dataset, i) => {
      const own = color(i), paper = css('--paper');
      const valid = (context) => !context.raw || context.raw.valid;
      dataset.borderColor = own;
      if (dataset.type === 'bar') {
        dataset.backgroundColor = (context) => valid(context) ? own : 'transparent';
        dataset.borderWidth = (context) => valid(context) ? 0 : 2;
      } else {
        dataset.pointBackgroundColor = own;
        dataset.pointBorderColor = (context) => valid(context) ? paper : own;
        dataset.pointBorderWidth = (context) => valid(context) ? 1 : 2.5;
      }
    });
    for (const scale of [chart.options.scales.x, chart.options.scales.y]) {
      scale.ticks.color = css('--soft');
      scale.title.color = css('--ink');
      scale.grid.color = css('--grid');
      scale.grid.borderColor = css('--absent');
    }
    const tip = chart.options.plugins.tooltip;
    tip.backgroundColor = css('--ink');
    tip.titleColor = tip.bodyColor = css('--paper');
  };

  const tickLabel = (value) => {
    const size = Math.abs(value);
    return size !== 0 && (size >= 1e7 || size < 1e-4) ? value.toExponential(0) : String(Number(value.toPrecision(10)));
  };

  const axis = (spec, extra) => ({
    type: spec.log ? 'logarithmic' : 'linear', min: spec.low, max: spec.high,
    title: {display: true, text: spec.title},
    ticks: {callback: tickLabel, maxRotation: 0, autoSkipPadding: 8},
    afterBuildTicks: (scale) => { if (spec.ticks.length) scale.ticks = spec.ticks.map((value) => ({value})); },
    grid: {}, ...extra,
  });

  const draw = (figure, data) => {
    const shown = (value) => value == null ? null : value / data.y.factor;
    const datasets = data.series.map((series, i) => {
      const points = series.points.map((p) => ({
        x: data.categories ? data.labels[p.x] : p.x, y: shown(p.y), low: shown(p.low), high: shown(p.high),
        valid: p.valid, text: p.text, sampling: p.sampling, label: p.label,
      }));
      if (data.bars) return {type: 'bar', label: series.name, data: points, maxBarThickness: 44, base: data.y.base};
      return {
        type: 'line', label: series.name, data: points, borderWidth: 2, tension: 0,
        pointStyle: (context) => !context.raw || context.raw.valid ? marks[i % marks.length] : 'crossRot',
        pointRadius: i % marks.length === 0 ? 5 : 6.5,
        pointHoverRadius: 8, pointHitRadius: 12,
        segment: {borderDash: (c) => points[c.p0DataIndex].valid && points[c.p1DataIndex].valid ? undefined : [4, 4]},
      };
    });
    const canvas = document.createElement('canvas');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', data.y.title + ' over ' + data.x.title);
    figure.classList.add('live');
    figure.querySelector('.plot').append(canvas);
    const x = data.categories
      ? {type: 'category', labels: data.labels, offset: true, title: {display: true, text: data.x.title}, ticks: {maxRotation: 30}, grid: {display: false}}
      : axis(data.x, {grid: {drawOnChartArea: false}});
    const chart = new Chart(canvas, {
      data: {datasets},
      plugins: [intervals],
      options: {
        animation: false, responsive: true, maintainAspectRatio: false,
        interaction: {mode: 'nearest', axis: 'xy', intersect: false},
        font: {family: getComputedStyle(document.body).fontFamily},
        scales: {x, y: axis(data.y, {})},
        plugins: {
          legend: {display: false},
          tooltip: {
            displayColors: false, padding: 10,
            callbacks: {
              title: (items) => items.length ? items[0].dataset.label + ', ' + data.x.title + ' ' + items[0].raw.label : '',
              label: (item) => {
                const lines = [item.raw.text, item.raw.sampling];
                if (!item.raw.valid) lines.push('INVALID: used for nothing');
                return lines;
              },
            },
          },
        },
      },
    });
    charts.push(chart);
    figure.querySelectorAll('.key').forEach((key) => {
      const index = Number(key.dataset.series);
      key.setAttribute('role', 'button');
      key.setAttribute('tabindex', '0');
      key.setAttribute('aria-pressed', 'true');
      const toggle = () => {
        chart.setDatasetVisibility(index, !chart.isDatasetVisible(index));
        key.setAttribute('aria-pressed', String(chart.isDatasetVisible(index)));
        chart.update('none');
      };
      key.addEventListener('click', toggle);
      key.addEventListener('keydown', (event) => {
        if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); toggle(); }
      });
    });
  };

  if (window.Chart) {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    document.querySelectorAll('figure.chart').forEach((figure) => {
      const source = figure.querySelector('script[type="application/json"]');
      if (source) draw(figure, JSON.parse(source.textContent));
    });
  }
  applyTheme();
})();
