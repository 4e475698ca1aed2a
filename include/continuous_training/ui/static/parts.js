// What every page is made of: React and Chakra UI of the Airflow around it, what is read, and the small pictures.
export const { createElement: h, useCallback, useEffect, useId, useState } = globalThis.React;
export const UI = globalThis.ChakraUI;
export const { Link: RouterLink } = globalThis.ReactRouterDOM;

const address = (path) => new URL(path, document.baseURI);

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function answer(response) {
  if (response.ok) return response.json();
  let detail = response.statusText;
  try {
    const told = (await response.json()).detail;
    detail = typeof told === "string" ? told : JSON.stringify(told);
  } catch {
    // not JSON: the status line says it
  }
  const words = { 401: "You are not logged in.", 403: "You may not see or do this: ask whoever runs this Airflow." };
  throw new Refused(words[response.status] ?? detail, response.status);
}

const query = (parameters) =>
  new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "")).toString();

const silent = () => {
  throw new Refused("Airflow did not answer: look whether it runs and you are connected, and try again.");
};

const ask = (path, options = {}) => fetch(address(path), { credentials: "same-origin", ...options }).then(answer, silent);

export const read = (path, parameters = {}) => ask(`continuous-training/pages/${path}?${query(parameters)}`);

export const readAirflow = (path, parameters = {}) => ask(`api/v2/${path}?${query(parameters)}`);

export const send = (method, path, body) =>
  ask(`api/v2/${path}`, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const trigger = (dagId, conf) => send("POST", `dags/${encodeURIComponent(dagId)}/dagRuns`, { logical_date: null, conf });

// Read again whenever what it depends on changes; an older answer that comes late is not shown.
export function useData(get, depends) {
  const [state, setState] = useState({ loading: true });
  const [asked, setAsked] = useState(0);
  useEffect(() => {
    let current = true;
    setState((before) => ({ ...before, loading: true }));
    get().then(
      (data) => current && setState({ data }),
      (error) => current && setState({ error }),
    );
    return () => {
      current = false;
    };
  }, [...depends, asked]);
  return { ...state, reload: useCallback(() => setAsked((before) => before + 1), []) };
}

export const modelOf = (dagId) => dagId.replace(/\.(train|watch|rollback)$/, "");
export const day = (moment) => moment.slice(0, 10);
export const minute = (moment) => `${moment.slice(0, 16).replace("T", " ")} UTC`;
export const short = (key) => key.slice(0, 12);

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  if (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4) return value.toExponential(2);
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 7 });
}

export function duration(seconds) {
  const days = seconds / 86400;
  if (days >= 2) return `${Math.round(days)} days`;
  return seconds >= 7200 ? `${Math.round(seconds / 3600)} hours` : `${Math.max(0, Math.round(seconds / 60))} minutes`;
}

// Text from data may hold marks that turn the reading direction or are not seen: they are shown, not obeyed.
export const plain = (text) =>
  String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (mark) =>
    `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

export const colours = {
  text: "var(--chakra-colors-fg)",
  muted: "var(--chakra-colors-fg-muted)",
  line: "var(--chakra-colors-border-emphasized, var(--chakra-colors-border))",
  far: "var(--chakra-colors-red-solid)",
  calm: "var(--chakra-colors-blue-solid)",
  band: "color-mix(in srgb, var(--chakra-colors-blue-solid) 22%, transparent)",
  reference: "color-mix(in srgb, var(--chakra-colors-fg) 38%, transparent)",
  current: "color-mix(in srgb, var(--chakra-colors-blue-solid) 70%, transparent)",
};

const PALETTES = {
  pass: "green", approved: "green", promoted: "green", promote: "green", promotion: "green", quiet: "gray", no: "gray", decided: "gray",
  fail: "red", failed: "red", failure: "red", reject: "red", rejected: "red", fired: "orange", yes: "orange", kept: "yellow", refusal: "yellow",
  stale: "yellow", inconclusive: "yellow", rollback: "purple", watch: "blue", rollout: "blue", episode: "orange", dry_run: "gray",
};

export const Mark = ({ word, palette }) =>
  h(UI.Badge, { colorPalette: palette ?? PALETTES[word] ?? "gray", variant: "subtle" }, plain(word).replaceAll("_", " "));

export function Page({ title, note, children, actions }) {
  return h(
    UI.Box,
    { as: "section", p: 4, "aria-label": title, "data-continuous-training": title, maxW: "100%", overflowX: "auto" },
    h(
      UI.Flex,
      { justify: "space-between", align: "baseline", wrap: "wrap", gap: 3, mb: 4 },
      h(UI.Box, null, h(UI.Heading, { as: "h1", size: "xl" }, title), note && h(UI.Text, { color: "fg.muted" }, note)),
      actions,
    ),
    children,
  );
}

export const Part = ({ title, note, children }) =>
  h(
    UI.Box,
    { as: "section", mb: 6, maxW: "100%" },
    h(UI.Heading, { as: "h2", size: "md", mb: 1 }, title),
    note && h(UI.Text, { color: "fg.muted", mb: 2 }, note),
    children,
  );

export const Loading = () => h(UI.Flex, { p: 6, justify: "center", role: "status", "aria-label": "Loading" }, h(UI.Spinner));

export const Note = ({ status = "info", children }) =>
  h(UI.Alert.Root, { status, mb: 3 }, h(UI.Alert.Indicator), h(UI.Alert.Title, { overflowWrap: "anywhere" }, children));

// The state of what is read, until there is something to show.
export function Shown({ state, children }) {
  if (state.error) return h(Note, { status: "error" }, plain(state.error.message));
  if (state.data === undefined) return h(Loading);
  return h("div", { "aria-busy": Boolean(state.loading) }, children(state.data));
}

export const Search = ({ label, value, set }) =>
  h(UI.Input, { placeholder: label, "aria-label": label, value, maxW: "16rem", size: "sm", onChange: (event) => set(event.target.value) });

// Steps through what comes in parts; nothing where all of it is shown.
export function Pager({ offset, step, total, what = "", move }) {
  if (total <= step) return null;
  const button = (word, to, disabled) => h(UI.Button, { size: "sm", variant: "outline", disabled, onClick: () => move(to) }, word);
  return h(
    UI.HStack,
    { my: 3, gap: 3 },
    button("Before", offset - step, offset === 0),
    h(UI.Text, { "aria-live": "polite" }, `${offset + 1} to ${Math.min(offset + step, total)} of ${total}${what}`),
    button("Next", offset + step, offset + step >= total),
  );
}

export function Table({ caption, heads, rows }) {
  return h(
    UI.Table.ScrollArea,
    { borderWidth: "1px", rounded: "md" },
    h(
      UI.Table.Root,
      { size: "sm", interactive: true },
      h(UI.Table.Caption, { captionSide: "top", srOnly: true }, caption),
      h(
        UI.Table.Header,
        null,
        h(UI.Table.Row, null, heads.map((head) => h(UI.Table.ColumnHeader, { key: head, scope: "col" }, head))),
      ),
      h(
        UI.Table.Body,
        null,
        rows.map(({ key, cells }) =>
          h(
            UI.Table.Row,
            { key },
            cells.map((cell, column) =>
              h(UI.Table.Cell, { key: column, verticalAlign: "top", whiteSpace: "normal", overflowWrap: "break-word", maxW: "36rem" }, cell),
            ),
          ),
        ),
      ),
    ),
  );
}

const WIDTH = 132;
const HEIGHT = 30;

function Picture({ label, width = WIDTH, height = HEIGHT, children }) {
  return h(
    "svg",
    { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height, style: { display: "block", maxWidth: "100%" } },
    h("title", null, label),
    children,
  );
}

// Drift of the newest windows: bars, 1 is at the threshold.
export function DriftBars({ looks }) {
  if (!looks.length) return h(UI.Text, { color: "fg.muted" }, "not looked at yet");
  const newest = looks[looks.length - 1];
  const told = newest.reach === null ? "not measured" : `${number(newest.reach)} times its threshold`;
  const step = WIDTH / Math.max(looks.length, 6);
  const most = Math.max(2, ...looks.map((look) => Math.min(look.reach ?? 0, 4)));
  const y = (value) => HEIGHT - (Math.min(value, most) / most) * (HEIGHT - 2);
  return h(
    Picture,
    { label: `Furthest drift in the last ${looks.length} windows; newest: ${told}` },
    looks.map((look, index) =>
      h("rect", {
        key: look.window.end, x: index * step + 1, width: Math.max(step - 2, 1),
        y: y(look.reach ?? 0), height: Math.max(HEIGHT - y(look.reach ?? 0), 1),
        fill: look.defects ? colours.muted : look.reach > 1 ? colours.far : colours.calm,
      }),
    ),
    h("line", { x1: 0, x2: WIDTH, y1: y(1), y2: y(1), stroke: colours.text, strokeDasharray: "3 3", strokeWidth: 1 }),
  );
}

// Quality over windows with its interval and limits.
export function QualityLine({ line, width = WIDTH, height = HEIGHT, axis = false }) {
  const points = line.points.filter((point) => point.value !== null);
  if (!points.length) return h(UI.Text, { color: "fg.muted" }, "no labels yet");
  const limits = [line.below, line.above].filter((limit) => limit !== null);
  const all = [...points.flatMap((point) => [point.value, point.low ?? point.value, point.high ?? point.value]), ...limits];
  const low = Math.min(...all);
  const high = Math.max(...all);
  const room = high - low || 1;
  const left = axis ? 46 : 2;
  const x = (index) => left + (points.length < 2 ? 0.5 : index / (points.length - 1)) * (width - left - 4);
  const y = (value) => 3 + (1 - (value - low) / room) * (height - 6);
  const newest = points[points.length - 1];
  const between = newest.low === null ? "" : `, between ${number(newest.low)} and ${number(newest.high)}`;
  const edge = (name) => points.map((point, index) => `${x(index)},${y(point[name] ?? point.value)}`);
  return h(
    Picture,
    { width, height, label: `${plain(line.metric)} in ${points.length} windows; newest ${number(newest.value)}${between}` },
    axis && h("text", { x: 0, y: 11, fontSize: 10, fill: colours.muted }, number(high)),
    axis && h("text", { x: 0, y: height - 3, fontSize: 10, fill: colours.muted }, number(low)),
    points.length > 1 && h("polygon", { points: [...edge("high"), ...edge("low").reverse()].join(" "), fill: colours.band }),
    limits.map((limit) =>
      h("line", { key: limit, x1: left, x2: width, y1: y(limit), y2: y(limit), stroke: colours.far, strokeDasharray: "3 3" }),
    ),
    h("polyline", { points: edge("value").join(" "), fill: "none", stroke: colours.calm, strokeWidth: 1.5 }),
    points.map((point, index) =>
      h("circle", { key: point.window.end, cx: x(index), cy: y(point.value), r: 2, fill: colours.calm },
        h("title", null, `${day(point.window.start)} to ${day(point.window.end)}: ${number(point.value)}`)),
    ),
  );
}

// Two distributions over each other.
export function Overlay({ column, width = 520, height = 180 }) {
  const { reference, current, kind } = column;
  const names = kind === "categorical" ? reference.categories : reference.edges.slice(0, -1);
  const most = Math.max(...reference.shares, ...current.shares, 1e-9);
  const foot = kind === "categorical" ? 64 : 22;
  const step = width / Math.max(names.length, 1);
  const bar = (share) => (share / most) * (height - foot - 8);
  const bars = (shares, colour, inset, what) =>
    shares.map((share, index) =>
      h(
        "rect",
        {
          key: `${what}${index}`, x: index * step + inset, width: Math.max(step - 2 * inset, 1),
          y: height - foot - bar(share), height: bar(share), fill: colour,
        },
        h("title", null, `${what}: ${(share * 100).toFixed(1)} % at ${plain(names[index] ?? "")}`),
      ),
    );
  const label = `${plain(column.name)}: shares of the reference in grey and of this window in blue`;
  return h(
    Picture,
    { label, width, height },
    bars(reference.shares, colours.reference, 1, "reference"),
    bars(current.shares, colours.current, step > 12 ? step / 5 : 1, "this window"),
    kind === "categorical"
      ? names.map((name, index) =>
          h(
            "text",
            {
              key: index, fontSize: 10, fill: colours.muted, textAnchor: "end",
              transform: `translate(${index * step + step / 2 + 3} ${height - foot + 10}) rotate(-45)`,
            },
            plain(name).slice(0, 12),
          ),
        )
      : [0, reference.edges.length - 1].map((index) =>
          h(
            "text",
            { key: index, x: index ? width : 0, y: height - 6, fontSize: 11, fill: colours.muted, textAnchor: index ? "end" : "start" },
            number(reference.edges[index]),
          ),
        ),
  );
}
