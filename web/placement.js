// Where a cut-out lies: pure functions, no DOM. A placement is { x, y, scale, rotation, mirror } as in the node's widgets:
// x and y are the middle as shares of the background, scale 1 just fits into the background. Sizes are [width, height].

export const LIMITS = { x: [-1, 2], y: [-1, 2], scale: [0.005, 10], rotation: [-360, 360] }

const STEPS = { x: 0.001, y: 0.001, scale: 0.001, rotation: 0.5 }

/** A placement's number within its bounds and on its widget's steps. */
export function bounded(name, value) {
  const [low, high] = LIMITS[name]
  const step = STEPS[name]
  return Number((Math.round(Math.min(high, Math.max(low, value)) / step) * step).toFixed(3))
}

/** How large the cut-out is drawn on a view of the background: [width, height] in the view's pixels. */
export function drawn(scale, object, view) {
  const factor = scale * Math.min(view[0] / object[0], view[1] / object[1])
  return [object[0] * factor, object[1] * factor]
}

/** The largest view of a background's proportions in a room: { left, top, width, height }. */
export function contained(background, room) {
  const factor = Math.min(room[0] / background[0], room[1] / background[1])
  const [width, height] = [background[0] * factor, background[1] * factor]
  return { left: (room[0] - width) / 2, top: (room[1] - height) / 2, width, height }
}

/** The placement after the pointer has moved by (dx, dy) pixels of the view. */
export function dragged(from, dx, dy, view) {
  return { ...from, x: bounded('x', from.x + dx / view[0]), y: bounded('y', from.y + dy / view[1]) }
}

/** The placement after a corner has been pulled: the middle stays, distances to it grow alike. */
export function pulled(from, middle, start, end) {
  const before = Math.hypot(start[0] - middle[0], start[1] - middle[1])
  const after = Math.hypot(end[0] - middle[0], end[1] - middle[1])
  return { ...from, scale: bounded('scale', before > 0 ? (from.scale * after) / before : from.scale) }
}

/** The placement after a key, null if the key means nothing here. `far`: the large step. */
export function nudged(from, key, far) {
  const step = far ? 0.05 : 0.005
  const by = { ArrowLeft: ['x', -step], ArrowRight: ['x', step], ArrowUp: ['y', -step], ArrowDown: ['y', step] }[key]
  if (by) return { ...from, [by[0]]: bounded(by[0], from[by[0]] + by[1]) }
  if (key === '+' || key === '=') return { ...from, scale: bounded('scale', from.scale * (far ? 1.2 : 1.02)) }
  if (key === '-' || key === '_') return { ...from, scale: bounded('scale', from.scale / (far ? 1.2 : 1.02)) }
  if (key === '[' || key === '{') return { ...from, rotation: bounded('rotation', from.rotation - (far ? 15 : 1)) }
  if (key === ']' || key === '}') return { ...from, rotation: bounded('rotation', from.rotation + (far ? 15 : 1)) }
  if (key === 'm' || key === 'M') return { ...from, mirror: !from.mirror }
  return null
}
