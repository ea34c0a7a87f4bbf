// What the widgets need to know of ComfyUI's nodes, in one place.
import { app } from '../../scripts/app.js'

/** The key under which the frontend files a node's outputs: its id, after that of its subgraph if it is in one. */
export function locator(node) {
  const root = app.rootGraph ?? app.graph
  return !node.graph || node.graph === root || node.graph.isRootGraph ? String(node.id) : `${node.graph.id}:${node.id}`
}

/** Tell undo of a change, and the tab that there is something to save. */
export function noteChange() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker
  if (tracker?.captureCanvasState) tracker.captureCanvasState()
  else tracker?.checkState?.()
}

/** Call `added` after what a node's own handler `name` does. */
export function after(node, name, added) {
  const own = node[name]
  node[name] = function (...given) {
    const result = own?.apply(this, given)
    added(...given)
    return result
  }
}

/** Load a stylesheet of this folder once. */
export function addStyle(file) {
  const href = new URL(file, import.meta.url).href
  if (document.querySelector(`link[href="${href}"]`)) return
  document.head.append(Object.assign(document.createElement('link'), { rel: 'stylesheet', href }))
}

const shown = new Map() // locator -> { node, root }: whose element was shown last under this id

/**
 * Keep a widget's element on the screen. After undo, or where another workflow has a node of the same id, the Vue renderer goes on showing the
 * element of the node that is gone: the new node's takes its place.
 */
export function keepShown(node, root) {
  const check = () => {
    if (!node.graph) return
    const key = locator(node)
    const old = shown.get(key)
    if (old && old.root !== root && old.node.graph?.getNodeById(old.node.id) !== old.node && old.root.isConnected && !root.isConnected) {
      old.root.replaceWith(root)
    }
    if (root.isConnected || !old?.root.isConnected) shown.set(key, { node, root })
  }
  // The renderer follows a little after the graph.
  const soon = () => {
    for (const wait of [0, 50, 250, 1000]) setTimeout(check, wait)
  }
  after(node, 'onAdded', soon)
  after(node, 'onConfigure', soon)
  soon()
}
