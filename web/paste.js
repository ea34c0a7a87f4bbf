// The picture in Paste Object. State: the placement is the values of the node's plain widgets; the pictures come of the last run
// or, before one, of the Load Image nodes that are connected.
import { app } from '../../scripts/app.js'
import { api } from '../../scripts/api.js'
import { addStyle, after, keepShown, locator, noteChange } from './node.js'
import { Placer } from './placer.js'
import { words } from './strings.js'

const SHOWN = 'raiha_paste'
const NOTICES = 'raiha_notices'
const NAMES = ['x', 'y', 'scale', 'rotation', 'mirror']
const placers = new Map() // node -> show(output)

const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name)
const isLinked = (node, name) => node.inputs?.some((input) => input.link != null && (input.widget?.name ?? input.name) === name)

function viewAddress({ filename, subfolder, type }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`)
}

/** The address of the picture that the connected Load Image shows, null for any other node. */
function loadedPicture(node, inputName) {
  const slot = node.inputs?.findIndex((input) => input.name === inputName) ?? -1
  let origin = slot < 0 || !node.graph ? null : node.getInputNode?.(slot)
  for (let i = 0; origin?.type === 'Reroute' && i < 20; i++) origin = origin.getInputNode(0)
  const value = origin?.type === 'LoadImage' ? widgetOf(origin, 'image')?.value : null
  if (typeof value !== 'string' || !value) return null
  // 'folder/name.png [output]', as the frontend notes where a picture lies.
  const named = /^(.*?)(?: \[(\w+)\])?$/.exec(value)
  if (!named) return null
  const [, path, type] = named
  const parts = path.split('/')
  return viewAddress({ filename: parts.pop(), subfolder: parts.join('/'), type: type ?? 'input' })
}

function makePlacer(node) {
  let run = null // { shown, notices, loaded }: what the last run showed, and which files were loaded then
  let signature = ''
  const loaded = () => [loadedPicture(node, 'background'), loadedPicture(node, 'object')]

  const state = () => {
    const [background, object] = loaded()
    const fresh = run && run.loaded === JSON.stringify([background, object])
    const fixed = NAMES.filter((name) => isLinked(node, name))
    const value = (name) => (fixed.includes(name) && run ? run.shown.placement[name] : widgetOf(node, name)?.value)
    const placement = Object.fromEntries(NAMES.map((name) => [name, value(name)]))
    if (fresh) {
      const { shown } = run
      return { background: viewAddress(shown.background), object: viewAddress(shown.object), placement, fixed, notices: run.notices }
    }
    return background && object ? { background, object, placement, fixed, notices: [] } : null
  }
  const render = () => {
    const now = state()
    const next = JSON.stringify(now)
    if (next === signature) return
    signature = next
    placer.render(now)
  }
  const placer = new Placer({
    words: words(app.extensionManager?.setting?.get?.('Comfy.Locale')),
    onMove: (placement) => {
      for (const name of NAMES) {
        const widget = widgetOf(node, name)
        if (!widget || isLinked(node, name) || widget.value === placement[name]) continue
        widget.value = placement[name]
        widget.callback?.(widget.value)
      }
      node.graph?.setDirtyCanvas?.(true, true)
    },
    onDone: noteChange,
    onLost: () => {
      if (!run) return
      run = null
      render()
    }
  })
  const widget = node.addDOMWidget('raiha_placer', 'RAIHA_PLACER', placer.root, {
    serialize: false,
    getMinHeight: () => 220,
    hideOnZoom: false
  })
  widget.serialize = false
  node.setSize?.([Math.max(node.size[0], 340), Math.max(node.size[1], 560)])

  const show = (output) => {
    const shown = output?.[SHOWN]?.[0]
    if (!shown || shown === run?.shown) return
    run = { shown, notices: output[NOTICES] ?? [], loaded: JSON.stringify(loaded()) }
    render()
  }
  placers.set(node, show)
  after(node, 'onExecuted', show)
  after(node, 'onConfigure', render)
  // What is typed into a widget, chosen in a Load Image or connected announces itself differently in each renderer.
  let watch = null
  const start = () => {
    placers.set(node, show)
    watch ??= setInterval(render, 300)
  }
  after(node, 'onAdded', start)
  after(node, 'onRemoved', () => {
    placers.delete(node)
    clearInterval(watch)
    watch = null
    placer.remove()
  })
  keepShown(node, placer.root)
  start()
  render()
}

app.registerExtension({
  name: 'raiha.paste',
  init() {
    addStyle('./placer.css')
  },
  nodeCreated(node) {
    if (node.comfyClass === 'RaihaPasteObject') makePlacer(node)
  },
  onNodeOutputsUpdated(outputs) {
    for (const [node, show] of placers) show(outputs[locator(node)])
  }
})
