// The gallery widget of Retrieve References. State: the picks are the widget's value, a JSON string, and reach the prompt;
// what was found last is kept in the node's properties, so that it is there again after a reload.
import { app } from '../../scripts/app.js'
import { api } from '../../scripts/api.js'
import { addStyle, after, keepShown, locator, noteChange } from './node.js'
import { format, parse, shown, toggle } from './picks.js'
import { words } from './strings.js'
import { Strip } from './strip.js'

const FOUND = 'raiha_references'
const NOTICES = 'raiha_notices'
const galleries = new Map() // node -> show(output)
const lastRuns = new Map() // where a node is -> the picks of its last run; undo makes the node anew, but not what was run

function address(photo, size) {
  return api.apiURL(`/raiha/thumbnail/${encodeURIComponent(photo.index)}/${encodeURIComponent(photo.id)}/${size}`)
}

function makeGallery(node, inputName, inputData) {
  let value = inputData?.[1]?.default ?? '{}'
  let notices = []
  const place = () => `${app.extensionManager?.workflow?.activeWorkflow?.path}|${locator(node)}`
  const found = () => (Array.isArray(node.properties?.[FOUND]) ? node.properties[FOUND] : [])

  const render = () => {
    const picks = parse(value)
    strip.render({
      photos: found(),
      picks,
      notices,
      ran: Array.isArray(node.properties?.[FOUND]),
      changed: (lastRuns.get(place()) ?? format(picks)) !== format(picks)
    })
  }
  const change = (picks) => {
    if (!lastRuns.has(place())) lastRuns.set(place(), format(parse(value)))
    widget.value = format(picks)
    widget.callback?.(widget.value)
    node.graph?.setDirtyCanvas?.(true, true)
    noteChange()
  }
  const strip = new Strip({
    words: words(app.extensionManager?.setting?.get?.('Comfy.Locale')),
    address,
    onToggle: (list, id) => change(toggle(parse(value), list, id)),
    onClear: () => change({ pinned: [], excluded: [] })
  })
  const widget = node.addDOMWidget(inputName, 'RAIHA_PICKS', strip.root, {
    getValue: () => value,
    setValue: (text) => {
      value = format(parse(text))
      render()
    },
    getMinHeight: () => 170,
    hideOnZoom: false
  })

  const show = (output) => {
    if (!Array.isArray(output?.[FOUND])) return
    const picks = parse(value)
    node.properties ??= {}
    node.properties[FOUND] = shown(output[FOUND], found(), picks)
    notices = output[NOTICES] ?? []
    render()
  }
  galleries.set(node, show)
  after(node, 'onExecuted', (output) => {
    if (Array.isArray(output?.[FOUND])) lastRuns.set(place(), format(parse(value)))
    show(output)
  })
  after(node, 'onConfigure', render)
  after(node, 'onAdded', () => galleries.set(node, show))
  after(node, 'onRemoved', () => {
    galleries.delete(node)
    strip.remove()
  })
  keepShown(node, strip.root)
  render()
  return { widget, minWidth: 300, minHeight: 320 }
}

app.registerExtension({
  name: 'raiha.gallery',
  init() {
    addStyle('./gallery.css')
  },
  getCustomWidgets() {
    return { RAIHA_PICKS: makeGallery }
  },
  onNodeOutputsUpdated(outputs) {
    for (const [node, show] of galleries) show(outputs[locator(node)])
  }
})
