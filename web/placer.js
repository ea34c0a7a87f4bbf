// The picture in which an object is dragged to its place, as plain DOM; knows nothing of ComfyUI.
import { contained, dragged, drawn, nudged, pulled } from './placement.js'

function element(tag, className, properties = {}) {
  return Object.assign(document.createElement(tag), { className, ...properties })
}

const KEYS = ['Enter', ' ', 'Delete', 'Backspace']

/**
 * @param {object} options
 * @param {object} options.words as `strings.js` gives them
 * @param {(placement: object) => void} options.onMove while something is moved
 * @param {() => void} options.onDone when it has come to rest
 */
export class Placer {
  constructor(options) {
    this.options = options
    this.state = null
    this.root = element('div', 'raiha-placer')
    this.room = element('div', 'raiha-room')
    this.view = element('div', 'raiha-view')
    this.background = element('img', 'raiha-background', { alt: '', draggable: false })
    this.object = element('div', 'raiha-object', { tabIndex: 0 })
    this.object.setAttribute('role', 'group')
    this.object.setAttribute('aria-label', options.words.placerHelp)
    this.picture = element('img', '', { alt: '', draggable: false })
    // One at each corner: where the object is larger than the background, some of them cannot be seen.
    this.corners = [0, 1, 2, 3].map((i) => element('div', `raiha-corner raiha-corner-${i}`, { title: options.words.corner }))
    this.object.append(this.picture, ...this.corners)
    this.view.append(this.background, this.object)
    this.room.append(this.view)
    this.status = element('div', 'raiha-place-status')
    this.status.setAttribute('role', 'status')
    this.root.append(this.room, this.status)
    for (const image of [this.background, this.picture]) {
      image.addEventListener('load', () => this.layout())
      // A preview of an earlier run of the server is gone.
      image.addEventListener('error', () => image.src && this.options.onLost())
    }
    for (const name of ['pointerdown', 'mousedown', 'dblclick', 'contextmenu']) {
      this.root.addEventListener(name, (event) => event.stopPropagation())
    }
    this.object.addEventListener('pointerdown', (event) => this.onPointer(event))
    this.object.addEventListener('keydown', (event) => this.onKey(event))
    // Turning the wheel over the object resizes it; elsewhere it zooms the canvas as always.
    this.object.addEventListener('wheel', (event) => this.onWheel(event), { passive: false })
    this.watch = new ResizeObserver(() => this.layout())
    this.watch.observe(this.room)
  }

  /**
   * @param {object | null} state `{ background, object, placement, fixed, notices }`: addresses of two pictures, the placement, which of
   *   its numbers come over a link and cannot be moved here; null where there is nothing to show yet
   */
  render(state) {
    const { words } = this.options
    this.state = state
    this.view.hidden = !state
    if (!state) {
      this.status.textContent = words.placerEmpty
      return
    }
    for (const [image, address] of [[this.background, state.background], [this.picture, state.object]]) {
      if (image.getAttribute('src') !== address) image.src = address
    }
    this.object.classList.toggle('raiha-fixed', state.fixed.length > 0)
    this.status.textContent = [...(state.fixed.length ? [`${words.linked}: ${state.fixed.join(', ')}`] : [words.placerHint]), ...state.notices].join(' ')
    this.layout()
  }

  /** Sizes of background and object; null before their pictures are there. */
  sizes() {
    const size = (image) => (image.naturalWidth ? [image.naturalWidth, image.naturalHeight] : null)
    const both = { background: size(this.background), object: size(this.picture) }
    return both.background && both.object ? both : null
  }

  layout() {
    const sizes = this.state && this.sizes()
    this.object.hidden = !sizes
    if (!sizes || !this.room.clientWidth || !this.room.clientHeight) return
    const at = contained(sizes.background, [this.room.clientWidth, this.room.clientHeight])
    for (const side of ['left', 'top', 'width', 'height']) this.view.style[side] = `${at[side]}px`
    const { placement } = this.state
    const [width, height] = drawn(placement.scale, sizes.object, [at.width, at.height])
    Object.assign(this.object.style, {
      width: `${width}px`,
      height: `${height}px`,
      left: `${placement.x * at.width - width / 2}px`,
      top: `${placement.y * at.height - height / 2}px`,
      transform: `rotate(${placement.rotation}deg)`
    })
    this.picture.style.transform = placement.mirror ? 'scaleX(-1)' : ''
  }

  move(placement) {
    const before = this.state.placement
    for (const name of this.state.fixed) placement[name] = before[name]
    this.state = { ...this.state, placement }
    this.layout()
    this.options.onMove(placement)
  }

  onPointer(event) {
    if (event.button !== 0 || !this.state) return
    event.preventDefault()
    event.stopPropagation()
    this.object.focus({ preventScroll: true })
    const from = this.state.placement
    const start = [event.clientX, event.clientY]
    // As it is on the screen, since the canvas may be zoomed.
    const box = this.view.getBoundingClientRect()
    const middle = [box.left + from.x * box.width, box.top + from.y * box.height]
    const corner = this.corners.includes(event.target)
    let moved = false
    const onMove = (now) => {
      moved = true
      const end = [now.clientX, now.clientY]
      this.move(corner ? pulled(from, middle, start, end) : dragged(from, end[0] - start[0], end[1] - start[1], [box.width, box.height]))
    }
    const onUp = () => {
      this.object.removeEventListener('pointermove', onMove)
      for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) this.object.removeEventListener(name, onUp)
      if (moved) this.options.onDone()
    }
    this.object.setPointerCapture(event.pointerId)
    this.object.addEventListener('pointermove', onMove)
    for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) this.object.addEventListener(name, onUp)
  }

  onWheel(event) {
    if (!this.state || document.activeElement !== this.object) return
    event.preventDefault()
    event.stopPropagation()
    this.step(event.deltaY < 0 ? '+' : '-', false)
  }

  onKey(event) {
    if (!this.state || event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === 'Escape') this.object.blur()
    else if (this.step(event.key, event.shiftKey)) event.preventDefault()
    else if (!KEYS.includes(event.key)) return
    // Delete would reach ComfyUI and delete the node, an arrow would move it.
    event.stopPropagation()
  }

  /** Do what a key means; whether it meant anything. */
  step(key, far) {
    const placement = nudged(this.state.placement, key, far)
    if (!placement) return false
    this.move(placement)
    clearTimeout(this.resting)
    this.resting = setTimeout(() => this.options.onDone(), 400)
    return true
  }

  /** Let go of what outlives the elements. */
  remove() {
    clearTimeout(this.resting)
    this.watch.disconnect()
  }
}
