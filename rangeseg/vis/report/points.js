// Turns, moves and zooms the points of a scan on a canvas. Points: base64 of int16 centimetres (N, 3);
// colourings: base64 of uint8 (N,), each an index into a palette of [r, g, b].
"use strict";
(function () {
  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }

  function pointView(root, data, palette) {
    const canvas = root.querySelector("canvas");
    const context = canvas.getContext("2d");
    const xyz = new Int16Array(bytes(data.xyz).buffer);
    const count = xyz.length / 3;
    const layers = data.layers.map((layer) => ({ name: layer.name, ids: bytes(layer.ids) }));
    const view = { turn: 0, tilt: 0, scale: 0, x: 0, y: 0, layer: Math.max(0, layers.length - 2) };
    let image = null, nearest = null;

    function size() {
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
      canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
      image = context.createImageData(canvas.width, canvas.height);
      nearest = new Float32Array(canvas.width * canvas.height);
      if (!view.scale) view.scale = canvas.height / 5000; // pixels per centimetre: 50 m fit
    }

    function draw() {
      const pixels = new Uint32Array(image.data.buffer);
      pixels.fill(0xff121010);
      nearest.fill(-Infinity);
      const [ct, st] = [Math.cos(view.turn), Math.sin(view.turn)];
      const [cu, su] = [Math.cos(view.tilt), Math.sin(view.tilt)];
      const [w, h] = [canvas.width, canvas.height];
      const ids = layers[view.layer].ids;
      const dot = Math.max(1, Math.round(h / 400));
      for (let i = 0; i < count; i++) {
        const x = xyz[3 * i], y = xyz[3 * i + 1], z = xyz[3 * i + 2];
        const ahead = ct * x + st * y, left = ct * y - st * x;
        const up = cu * ahead + su * z, near = cu * z - su * ahead;
        const column = Math.round(w / 2 + view.x - left * view.scale);
        const row = Math.round(h / 2 + view.y - up * view.scale);
        if (column < 0 || row < 0 || column + dot > w || row + dot > h) continue;
        const color = palette[ids[i]];
        const packed = 0xff000000 | (color[2] << 16) | (color[1] << 8) | color[0];
        for (let a = 0; a < dot; a++)
          for (let b = 0; b < dot; b++) {
            const place = (row + a) * w + column + b;
            if (near > nearest[place]) {
              nearest[place] = near;
              pixels[place] = packed;
            }
          }
      }
      context.putImageData(image, 0, 0);
      root.querySelectorAll("button").forEach((button, k) => button.setAttribute("aria-pressed", k === view.layer));
    }

    let waiting = false;
    function later() {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    }

    const bar = root.querySelector(".layers");
    layers.forEach((layer, k) => {
      const button = document.createElement("button");
      button.textContent = layer.name;
      button.onclick = () => { view.layer = k; later(); };
      bar.append(button);
    });
    const pointers = new Map();
    canvas.onpointerdown = (event) => { pointers.set(event.pointerId, event); canvas.setPointerCapture(event.pointerId); };
    canvas.onpointerup = canvas.onpointercancel = (event) => pointers.delete(event.pointerId);
    canvas.onpointermove = (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const ratio = canvas.width / canvas.clientWidth;
      const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
      if (pointers.size === 2) {
        const other = [...pointers.values()].find((one) => one.pointerId !== event.pointerId);
        const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
        view.scale *= apart(event) / Math.max(1, apart(before));
      } else if (event.shiftKey || event.buttons === 2) {
        view.x += dx * ratio;
        view.y += dy * ratio;
      } else {
        view.turn -= dx / 150;
        view.tilt = Math.min(1.5, Math.max(0, view.tilt - dy / 150));
      }
      pointers.set(event.pointerId, event);
      later();
    };
    canvas.oncontextmenu = (event) => event.preventDefault();
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      view.scale *= Math.exp(-event.deltaY / 500);
      later();
    }, { passive: false });
    new ResizeObserver(() => { size(); later(); }).observe(canvas);
    size();
    draw();
  }

  const store = document.getElementById("points");
  if (!store) return;
  const { palette, scans } = JSON.parse(store.textContent);
  document.querySelectorAll(".points").forEach((root, k) => pointView(root, scans[k], palette));
})();
