// What Harmonize Composite has to say after a run, such as why nothing was changed: lines in the node, as long as there are any.
import { app } from '../../scripts/app.js'
import { addStyle, after, locator } from './node.js'

const KIND = 'RaihaHarmonizeComposite'
const notices = new Map() // node -> show(output)

function makeNotices(node) {
  let widget = null
  const root = Object.assign(document.createElement('div'), { className: 'raiha-said' })
  root.setAttribute('role', 'status')

  const show = (output) => {
    const said = Array.isArray(output?.text) ? output.text.map(String) : []
    root.replaceChildren(...said.map((text) => Object.assign(document.createElement('p'), { textContent: text })))
    if (said.length && !widget) {
      widget = node.addDOMWidget('raiha_said', 'RAIHA_SAID', root, { serialize: false, getMinHeight: () => 84, hideOnZoom: false })
      widget.serialize = false
    } else if (!said.length && widget) {
      node.removeWidget?.(widget)
      widget = null
    }
    node.graph?.setDirtyCanvas?.(true, true)
  }
  notices.set(node, show)
  after(node, 'onExecuted', show)
  after(node, 'onAdded', () => notices.set(node, show))
  after(node, 'onRemoved', () => notices.delete(node))
}

app.registerExtension({
  name: 'raiha.notices',
  init() {
    addStyle('./notices.css')
  },
  nodeCreated(node) {
    if (node.comfyClass === KIND) makeNotices(node)
  },
  onNodeOutputsUpdated(outputs) {
    for (const [node, show] of notices) show(outputs[locator(node)])
  }
})
