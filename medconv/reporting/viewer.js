"use strict";
// The page's own part: unpacks NiiVue and the volumes that the page carries, and ties the controls to them.

const $ = (id) => document.getElementById(id);
const study = JSON.parse($("study").textContent);
const packed = (id) => $(id).textContent.trim();
let nv = null;
const state = { shown: true, opacity: study.opacity, hidden: study.layers.map(() => new Set()) };

async function unpackText(id) {
  const bytes = Uint8Array.from(atob(packed(id)), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = text === "";
}

function tableOf(layer, number) {
  const own = layer.labels.map((label, place) => (state.hidden[number].has(place) ? 0 : 255));
  const channel = (which) => [0, ...layer.colours.map((colour) => colour[which])];
  return { R: channel(0), G: channel(1), B: channel(2), A: [0, ...own], labels: ["", ...layer.names] };
}

async function start() {
  const probe = document.createElement("canvas").getContext("webgl2");
  if (!probe || typeof DecompressionStream === "undefined") {
    throw new Error("This page needs a browser with WebGL 2, such as a current Firefox, Chrome, Edge or Safari.");
  }
  probe.getExtension("WEBGL_lose_context")?.loseContext();
  const script = document.createElement("script");
  script.textContent = await unpackText("niivue");
  document.head.append(script);
  const { Niivue, NVImage, SHOW_RENDER } = window.niivue;
  nv = new Niivue({
    logLevel: "error", dragAndDropEnabled: false, loadingText: "", backColor: [0, 0, 0, 1], crosshairColor: [0.2, 0.9, 0.4, 0.8],
    isRadiologicalConvention: $("radiological").checked, multiplanarShowRender: SHOW_RENDER.ALWAYS, isNearestInterpolation: false,
    show3Dcrosshair: true, crosshairWidth: 0.25, crosshairWidthUnit: "percent", viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "",
  });
  nv.onLocationChange = tell;
  await nv.attachToCanvas($("canvas"));
  nv.addVolume(await NVImage.loadFromBase64({
    base64: packed("image"), name: "image.nii.gz", colormap: "gray", cal_min: study.window[0], cal_max: study.window[1],
  }));
  for (const [number, layer] of study.layers.entries()) {
    const volume = await NVImage.loadFromBase64({ base64: packed(`layer-${number}`), name: `layer-${number}.nii.gz`, opacity: state.opacity });
    volume.setColormapLabel(tableOf(layer, number));
    nv.addVolume(volume);
  }
  showLayout();
  nv.scene.crosshairPos = nv.mm2frac(study.start_mm);
  nv.updateGLVolume();
  nv.createOnLocationChange();
  tieControls();
  say("");
  document.body.dataset.state = "ready";
}

function refresh() {
  study.layers.forEach((layer, number) => {
    nv.volumes[number + 1].setColormapLabel(tableOf(layer, number));
    const isOn = state.shown && $(`on-${number}`).checked;
    nv.volumes[number + 1].opacity = isOn ? state.opacity : 0;
  });
  nv.updateGLVolume();
}

function showLayout() {
  nv.setSliceType(Number($("layout").value));
}

function setWindow(low, high) {
  if (!(low < high)) return;
  nv.volumes[0].cal_min = low;
  nv.volumes[0].cal_max = high;
  nv.updateGLVolume();
}

function resetView() {
  nv.setPan2Dxyzmm([0, 0, 0, 1]);
  $("low").value = study.window[0];
  $("high").value = study.window[1];
  setWindow(...study.window);
}

function tieControls() {
  const onInput = (id, what) => $(id)?.addEventListener("input", what);
  onInput("layout", showLayout);
  onInput("radiological", () => nv.setRadiologicalConvention($("radiological").checked));
  onInput("opacity", () => { state.opacity = Number($("opacity").value); refresh(); });
  onInput("outline", () => nv.setAtlasOutline($("outline").checked ? 1 : 0));
  onInput("low", () => setWindow(Number($("low").value), Number($("high").value)));
  onInput("high", () => setWindow(Number($("low").value), Number($("high").value)));
  $("reset").addEventListener("click", resetView);
  for (const box of document.querySelectorAll("input[data-layer]")) {
    box.addEventListener("input", () => {
      const hidden = state.hidden[Number(box.dataset.layer)];
      if (box.dataset.place !== undefined) hidden[box.checked ? "delete" : "add"](Number(box.dataset.place));
      refresh();
    });
  }
  // before NiiVue's own keys, which work only while the mouse is over the picture
  document.addEventListener("keydown", onKey, { capture: true });
  new ResizeObserver(() => nv.drawScene()).observe($("view"));
}

function change(id, value) {
  $(id).value = value;
  $(id).dispatchEvent(new Event("input"));
}

const KEYS = {
  ArrowLeft: () => nv.moveCrosshairInVox($("radiological").checked ? 1 : -1, 0, 0),
  ArrowRight: () => nv.moveCrosshairInVox($("radiological").checked ? -1 : 1, 0, 0),
  ArrowUp: () => nv.moveCrosshairInVox(0, 1, 0),
  ArrowDown: () => nv.moveCrosshairInVox(0, -1, 0),
  PageUp: () => nv.moveCrosshairInVox(0, 0, 1),
  PageDown: () => nv.moveCrosshairInVox(0, 0, -1),
  m: () => { state.shown = !state.shown; refresh(); },
  o: () => $("outline")?.click(),
  "+": () => change("opacity", Math.min(1, state.opacity + 0.1)),
  "-": () => change("opacity", Math.max(0, state.opacity - 0.1)),
  v: () => { const box = $("layout"); change("layout", box.options[(box.selectedIndex + 1) % box.options.length].value); },
  r: resetView,
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inControl = ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName);
  const key = event.key === "=" ? "+" : event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key in KEYS && !inControl) {
    KEYS[key]();
    event.preventDefault();
  }
  if (document.activeElement === $("canvas") && key !== "Tab") event.stopPropagation();
}

function tell(place) {
  const values = place.values ?? [];
  const { unit, per_unit } = study.length;
  const words = [Array.from(place.mm).slice(0, 3).map((mm) => (mm * per_unit).toFixed(1)).join(", ") + ` ${unit}`];
  if (values[0]) words.push(`intensity ${Number(values[0].value.toPrecision(5))}`);
  study.layers.forEach((layer, number) => {
    const rank = Math.round(values[number + 1]?.value ?? 0);
    if (rank > 0) words.push(`${layer.name}: ${layer.names[rank - 1]}`);
  });
  $("place").textContent = words.join(" · ");
}

start().catch((error) => {
  say(error.message);
  document.body.dataset.state = "failed";
});
