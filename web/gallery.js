// The gallery widget of Retrieve References. State: the picks are the widget's value, a JSON string, and reach the prompt;
// what was found last is kept in the node's properties, so that it is there again after a reload.
import { app } from '../../scripts/app.js'
import { api } from '../../scripts/api.js'
import { format, parse, shown, toggle } from './picks.js'
import { words } from './strings.js'
import { Strip } from './strip.js'

const FOUND = 'raiha_references'
const NOTICES = 'raiha_notices'
const galleries = new Map() // node -> show(output)

function address(photo, size) {
  return api.apiURL(`/raiha/thumbnail/${encodeURIComponent(photo.index)}/${encodeURIComponent(photo.id)}/${size}`)
}

/** The key under which the frontend files a node's outputs: its id, after that of its subgraph if it is in one. */
function locator(node) {
  const root = app.rootGraph ?? app.graph
  return !node.graph || node.graph === root || node.graph.isRootGraph ? String(node.id) : `${node.graph.id}:${node.id}`
}

function noteChange() {
  // Without this, undo would not know of the change, and the tab would not show that there is something to save.
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker
  if (tracker?.captureCanvasState) tracker.captureCanvasState()
  else tracker?.checkState?.()
}

/** Call `added` after what a node's own handler `name` does. */
function after(node, name, added) {
  const own = node[name]
  node[name] = function (...given) {
    const result = own?.apply(this, given)
    added(...given)
    return result
  }
}

function makeGallery(node, inputName, inputData) {
  let value = inputData?.[1]?.default ?? '{}'
  let applied = null // the picks of the last run, null if unknown
  let notices = []
  const found = () => (Array.isArray(node.properties?.[FOUND]) ? node.properties[FOUND] : [])

  const render = () => {
    const picks = parse(value)
    strip.render({
      photos: found(),
      picks,
      notices,
      ran: Array.isArray(node.properties?.[FOUND]),
      changed: applied !== null && applied !== format(picks)
    })
  }
  const change = (picks) => {
    applied ??= format(parse(value))
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
    if (Array.isArray(output?.[FOUND])) applied = format(parse(value))
    show(output)
  })
  after(node, 'onConfigure', render)
  after(node, 'onAdded', () => galleries.set(node, show))
  after(node, 'onRemoved', () => {
    galleries.delete(node)
    strip.remove()
  })
  render()
  return { widget, minWidth: 300, minHeight: 320 }
}

app.registerExtension({
  name: 'raiha.gallery',
  init() {
    document.head.append(
      Object.assign(document.createElement('link'), { rel: 'stylesheet', href: new URL('./gallery.css', import.meta.url).href })
    )
  },
  getCustomWidgets() {
    return { RAIHA_PICKS: makeGallery }
  },
  onNodeOutputsUpdated(outputs) {
    for (const [node, show] of galleries) show(outputs[locator(node)])
  }
})
