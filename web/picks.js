// What the user pinned and excluded: pure functions over { pinned: [id], excluded: [id] }, no DOM.

const ID = /^[0-9a-f]{16}$/

const ids = (value) => (Array.isArray(value) ? [...new Set(value.filter((id) => typeof id === 'string' && ID.test(id)))] : [])

/** Read the widget's string; anything else than picks counts as none. */
export function parse(text) {
  try {
    const value = JSON.parse(text || '{}') ?? {}
    const pinned = ids(value.pinned)
    return { pinned, excluded: ids(value.excluded).filter((id) => !pinned.includes(id)) }
  } catch {
    return { pinned: [], excluded: [] }
  }
}

/** The string that is saved in the workflow and sent with the prompt. */
export function format({ pinned, excluded }) {
  const value = {}
  if (pinned.length) value.pinned = pinned
  if (excluded.length) value.excluded = excluded
  return JSON.stringify(value)
}

/** Put a photo into one list ('pinned' or 'excluded'), or take it out if it is there; it is never in both. */
export function toggle(picks, list, id) {
  const other = list === 'pinned' ? 'excluded' : 'pinned'
  const inside = picks[list].includes(id)
  return {
    [list]: inside ? picks[list].filter((i) => i !== id) : [...picks[list], id],
    [other]: picks[other].filter((i) => i !== id)
  }
}

/** What to show: what was found, and after it the excluded photos known from before, so that they can be let in again. */
export function shown(found, before, picks) {
  const there = new Set(found.map((photo) => photo.id))
  return [...found, ...before.filter((photo) => !there.has(photo.id) && picks.excluded.includes(photo.id))]
}
