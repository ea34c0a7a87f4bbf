// The strip of thumbnails as plain DOM; knows nothing of ComfyUI.

function element(tag, className, properties = {}) {
  return Object.assign(document.createElement(tag), { className, ...properties })
}

/**
 * @param {object} options
 * @param {object} options.words as `strings.js` gives them
 * @param {(photo: object, size: 'small' | 'large') => string} options.address where a photo's picture is
 * @param {(list: 'pinned' | 'excluded', id: string) => void} options.onToggle
 * @param {() => void} options.onClear
 */
export class Strip {
  constructor(options) {
    this.options = options
    this.root = element('div', 'raiha-gallery')
    this.status = element('span', 'raiha-status')
    this.status.setAttribute('role', 'status')
    this.clear = element('button', 'raiha-clear', { type: 'button', textContent: options.words.clear, title: options.words.clearTip })
    this.clear.addEventListener('click', () => {
      options.onClear()
      // The button hides; without this, the keyboard's focus would be lost.
      this.grid.firstElementChild?.focus({ preventScroll: true })
    })
    const head = element('div', 'raiha-head')
    head.append(this.status, this.clear)
    this.grid = element('div', 'raiha-grid')
    this.grid.setAttribute('role', 'group')
    this.grid.setAttribute('aria-label', options.words.help)
    this.notices = element('div', 'raiha-notices')
    this.root.append(head, this.grid, this.notices)
    // A node is dragged, cloned (with Alt) or deleted by what reaches the canvas: what is meant for the strip stays in it.
    for (const name of ['pointerdown', 'mousedown', 'dblclick', 'contextmenu']) {
      this.root.addEventListener(name, (event) => event.stopPropagation())
    }
    this.root.addEventListener('keydown', (event) => this.onKey(event))
  }

  /**
   * Show photos with their picks.
   * @param {object} state
   * @param {{ id: string, index: string, name: string, content: number, illumination: number, width?: number, height?: number }[]} state.photos
   * @param {{ pinned: string[], excluded: string[] }} state.picks
   * @param {string[]} [state.notices]
   * @param {boolean} [state.ran] whether the node has run, so that no photos means that none fits
   * @param {boolean} [state.changed] whether the picks are others than those of the last run
   */
  render({ photos, picks, notices = [], ran = false, changed = false }) {
    const { words } = this.options
    this.enlarge(null)
    const active = /** @type {HTMLElement | null} */ (document.activeElement)
    const focused = active && this.grid.contains(active) ? active.dataset.id : null
    this.grid.replaceChildren(...photos.map((photo, i) => this.card(photo, picks, i)))
    if (focused) this.grid.querySelector(`[data-id="${focused}"]`)?.focus({ preventScroll: true })
    const parts = []
    if (picks.pinned.length) parts.push(`${picks.pinned.length} ${words.pinned}`)
    if (picks.excluded.length) parts.push(`${picks.excluded.length} ${words.excluded}`)
    if (changed) parts.push(words.again)
    this.status.textContent = parts.length ? parts.join(' · ') : photos.length ? words.hint : ran ? words.none : words.empty
    this.clear.hidden = !picks.pinned.length && !picks.excluded.length
    this.notices.replaceChildren(...notices.map((text) => element('p', '', { textContent: text })))
  }

  card(photo, picks, position) {
    const { words, address, onToggle } = this.options
    const pinned = picks.pinned.includes(photo.id)
    const excluded = picks.excluded.includes(photo.id)
    const card = element('button', `raiha-card${pinned ? ' raiha-pinned' : ''}${excluded ? ' raiha-excluded' : ''}`, { type: 'button' })
    card.dataset.id = photo.id
    card.tabIndex = position ? -1 : 0
    card.setAttribute('aria-pressed', String(pinned))
    const state = pinned ? `, ${words.pinned}` : excluded ? `, ${words.excluded}` : ''
    const scores = `${words.content} ${percent(photo.content)}, ${words.light} ${percent(photo.illumination)}`
    card.setAttribute('aria-label', `${photo.name}, ${scores}${state}`)
    const image = element('img', 'raiha-thumb', { alt: '', draggable: false, src: address(photo, 'small') })
    image.addEventListener('error', () => {
      image.replaceWith(element('span', 'raiha-thumb raiha-gone', { textContent: words.gone }))
    })
    const mark = element('span', 'raiha-mark', { textContent: pinned ? '✓' : excluded ? '✕' : '' })
    card.append(image, mark, score(words.content, photo.content, 'content'), score(words.light, photo.illumination, 'light'))
    card.addEventListener('click', (event) => {
      event.stopPropagation()
      onToggle(event.altKey ? 'excluded' : 'pinned', photo.id)
    })
    card.addEventListener('pointerenter', () => this.enlarge(card, photo, scores))
    // Only for the keyboard's focus: after a click, the large picture would stay when the pointer has long left.
    card.addEventListener('focus', () => card.matches(':focus-visible') && this.enlarge(card, photo, scores))
    for (const name of ['pointerleave', 'blur']) card.addEventListener(name, () => this.enlarge(null))
    return card
  }

  /** A large picture with the file's name beside a card; null takes it away. */
  enlarge(card, photo, scores) {
    this.large?.remove()
    this.large = null
    if (!card) return
    const large = element('div', 'raiha-large')
    const name = element('b', '', { textContent: photo.name })
    const size = photo.width ? ` · ${photo.width} × ${photo.height}` : ''
    large.append(element('img', '', { alt: '', src: this.options.address(photo, 'large') }), name, element('span', '', { textContent: scores + size }))
    // In the body, since a fixed position inside the zoomed canvas would be relative to it.
    document.body.append(large)
    // Beside the whole strip, so that no other photo is covered.
    const box = this.root.getBoundingClientRect()
    const side = Math.min(420, window.innerWidth * 0.4)
    large.style.width = `${side}px`
    const right = box.right + 12 + side < window.innerWidth
    large.style.left = `${Math.max(8, right ? box.right + 12 : box.left - side - 12)}px`
    const place = () => {
      large.style.top = `${Math.max(8, Math.min(box.top, window.innerHeight - large.offsetHeight - 8))}px`
    }
    place()
    large.firstChild.addEventListener('load', place)
    this.large = large
  }

  onKey(event) {
    const cards = [...this.grid.children]
    const at = cards.indexOf(document.activeElement)
    if (at < 0) {
      if (['Enter', ' ', 'Delete', 'Backspace'].includes(event.key)) event.stopPropagation()
      return
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    const keys = ['Enter', ' ', 'Delete', 'Backspace', 'Escape']
    if (!step && !keys.includes(event.key)) return
    // Delete would reach ComfyUI and delete the node, Enter with Ctrl would queue.
    if (event.ctrlKey || event.metaKey) return
    event.stopPropagation()
    if (step) {
      event.preventDefault()
      cards[(at + step + cards.length) % cards.length].focus()
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
      this.options.onToggle('excluded', cards[at].dataset.id)
    } else if (event.key === 'Escape') {
      this.enlarge(null)
      cards[at].blur()
    }
  }

  /** Let go of what lies outside the root. */
  remove() {
    this.enlarge(null)
  }
}

function percent(value) {
  return `${Math.round(100 * Number(value) || 0)}%`
}

function score(label, value, kind) {
  const row = element('span', `raiha-score raiha-${kind}`)
  const bar = element('i', '')
  bar.style.width = percent(value)
  row.append(bar, element('span', '', { textContent: `${label} ${percent(value)}` }))
  return row
}
