// The tab Champions of a DAG: what served when, and everything that happened.
import {
  Mark, Note, Page, Part, Shown, Table, UI, colours, day, h, minute, modelOf, plain, read, short, useData, useId, useState,
} from "./parts.js";

const KINDS = ["promotion", "rollback", "refusal", "failure", "episode", "rollout"];

function Periods({ served }) {
  const width = 900;
  const begin = Date.parse(served[served.length - 1].since);
  const end = Math.max(Date.now(), begin + 1);
  const x = (moment) => ((Date.parse(moment) - begin) / (end - begin)) * width;
  const label = `Champions from ${day(served[served.length - 1].since)} until today`;
  return h(
    "svg",
    { role: "img", "aria-label": label, viewBox: `0 0 ${width} 44`, width: "100%", style: { maxWidth: width, display: "block" } },
    h("title", null, label),
    served.map((one) => {
      const from = x(one.since);
      const wide = Math.max((one.until ? x(one.until) : width) - from, 2);
      return h(
        "g",
        { key: one.fence },
        h("rect", {
          x: from, y: 4, width: wide, height: 26, rx: 3, stroke: colours.text, strokeWidth: 0.5,
          fill: one.kind === "rollback" ? "color-mix(in srgb, var(--chakra-colors-purple-solid) 45%, transparent)" : colours.current,
        }, h("title", null, `version ${one.version}: ${minute(one.since)} to ${one.until ? minute(one.until) : "now"}`)),
        wide > 18 && h("text", { x: from + wide / 2, y: 21, fontSize: 12, textAnchor: "middle", fill: colours.text }, one.version),
      );
    }),
  );
}

function At({ served }) {
  const [moment, setMoment] = useState("");
  const field = useId();
  const asked = moment ? new Date(`${moment}Z`).toISOString() : null;
  const found = asked && served.find((one) => one.since <= asked && (one.until === null || asked < one.until));
  return h(
    UI.Box,
    { mb: 4 },
    h("label", { htmlFor: field }, "What served at this moment (UTC)?"),
    h(UI.HStack, { gap: 4, mt: 1, wrap: "wrap" },
      h(UI.Input, { id: field, type: "datetime-local", value: moment, maxW: "16rem", size: "sm", onChange: (event) => setMoment(event.target.value) }),
      h(UI.Text, { role: "status" },
        asked === null ? "" : found
          ? `Version ${found.version} (fence ${found.fence}), champion since ${minute(found.since)}: ${plain(found.reason)}`
          : "Nothing: there was no champion yet.")),
  );
}

function Champions({ dagId }) {
  const [kind, setKind] = useState("");
  const state = useData(() => read(`dags/${dagId}/champions`), [dagId]);
  return h(
    Page,
    { title: "Champions", note: `Promotions, refusals, rollbacks and episodes of ${plain(modelOf(dagId))}` },
    h(Shown, { state }, ({ events, served }) =>
      h(
        UI.Box,
        null,
        served.length === 0
          ? h(Note, null, "There is no champion yet: the first comes with the first training that passes the gate.")
          : h(Part, { title: "What served" }, h(At, { served }), h(Periods, { served })),
        h(
          Part,
          { title: "What happened" },
          h(UI.Wrap, { gap: 1, mb: 3, role: "group", "aria-label": "Kinds of events" },
            ["", ...KINDS].map((each) =>
              h(UI.Button, { key: each, size: "xs", variant: kind === each ? "solid" : "outline", "aria-pressed": kind === each, onClick: () => setKind(each) }, each || "all"))),
          h(Table, {
            caption: "Events, newest first",
            heads: ["When", "What", "Why", "Run"],
            rows: events.filter((event) => !kind || event.kind === kind).map((event, index) => ({
              key: index,
              cells: [
                h(UI.Box, { whiteSpace: "nowrap" }, minute(event.at), event.until && h(UI.Text, { fontSize: "xs", color: "fg.muted" }, `until ${minute(event.until)}`)),
                h(UI.Box, null, h(Mark, { word: event.kind }), h(UI.Text, null, plain(event.title))),
                plain(event.text),
                event.run_key ? h(UI.Code, null, short(event.run_key)) : "",
              ],
            })),
          }),
        ),
      ),
    ),
  );
}

globalThis.AirflowPlugin = Champions;
