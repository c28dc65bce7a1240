// Mouse, fingers and keys on the viewer's stage.

const STEP = 0.1; // of the stage, for an arrow key

export class Gestures {
  constructor(viewer) {
    this.viewer = viewer;
    this.down = new Map();
    const { stage, handle } = viewer;
    stage.addEventListener("wheel", (event) => {
      if (event.target.closest("video")) return;
      event.preventDefault();
      viewer.zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), this.place(event));
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.down.delete(event.pointerId));
    stage.addEventListener("dblclick", (event) => {
      if (viewer.fitted) viewer.zoomTo(Math.max(1 / devicePixelRatio, viewer.zoom * 2), this.place(event));
      else viewer.fit();
    });
    stage.addEventListener("keydown", (event) => this.key(event));
    handle.addEventListener("keydown", (event) => this.slide(event));
  }

  // The place of an event, in screen pixels from the middle of the pane it is over.
  place({ clientX, clientY }) {
    const panes = this.viewer.panes.map((pane) => pane.getBoundingClientRect());
    const box = panes.find(({ left, right, top, bottom }) => clientX >= left && clientX <= right && clientY >= top && clientY <= bottom) ?? panes[0] ?? this.viewer.box;
    return { x: clientX - box.left - box.width / 2, y: clientY - box.top - box.height / 2 };
  }

  press(event) {
    const { viewer } = this;
    if (event.button || event.target.closest("video")) return;
    viewer.stage.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, event);
    const onHandle = viewer.handle.contains(event.target);
    this.sliding = viewer.mode === "slider" && (onHandle || (viewer.fitted && event.pointerType !== "touch"));
    if (this.sliding) this.slideTo(event);
  }

  move(event) {
    const { viewer } = this;
    const before = this.down.get(event.pointerId);
    if (viewer.lensOn) {
      viewer.lensAt = this.place(event);
      viewer.layoutLens();
    }
    if (!before) return;
    this.down.set(event.pointerId, event);
    if (this.down.size === 2) this.pinch(event, before);
    else if (this.sliding) this.slideTo(event);
    else viewer.moveBy(event.clientX - before.clientX, event.clientY - before.clientY);
  }

  pinch(event, before) {
    const other = [...this.down.values()].find((each) => each.pointerId !== event.pointerId);
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const middle = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 };
    this.viewer.zoomBy(apart(event) / Math.max(1, apart(before)), this.place(middle));
    this.viewer.moveBy((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
  }

  slideTo({ clientX }) {
    const box = this.viewer.stage.getBoundingClientRect();
    this.viewer.setCut((clientX - box.left) / box.width);
  }

  slide(event) {
    const { viewer } = this;
    const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    viewer.setCut(viewer.cut + steps[event.key]);
  }

  key(event) {
    const { viewer } = this;
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("video")) return;
    const { width, height } = viewer.box;
    const does = {
      ArrowLeft: () => viewer.moveBy(width * STEP, 0), ArrowRight: () => viewer.moveBy(-width * STEP, 0),
      ArrowUp: () => viewer.moveBy(0, height * STEP), ArrowDown: () => viewer.moveBy(0, -height * STEP),
      "+": () => viewer.zoomBy(1.5), "=": () => viewer.zoomBy(1.5), "-": () => viewer.zoomBy(1 / 1.5),
      0: () => viewer.fit(), 1: () => viewer.single(), m: () => viewer.setLens(!viewer.lensOn), M: () => viewer.setLens(!viewer.lensOn),
    };
    if (!(event.key in does)) return;
    event.preventDefault();
    does[event.key]();
  }
}
