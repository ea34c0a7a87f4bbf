// What the user pinned and excluded: run by `node --test`, without a browser.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { format, parse, shown, toggle } from '../../web/picks.js'

const [A, B, C] = ['a', 'b', 'c'].map((letter) => letter.repeat(16))
const none = { pinned: [], excluded: [] }

test('anything else than picks counts as none', () => {
  for (const text of ['', 'null', '[]', '3', '"x"', '{', '{"pinned": 3}', '{"pinned": {"a": 1}}', undefined, null]) {
    assert.deepEqual(parse(text), none, String(text))
  }
})

test('only ids of photos are taken, each once, and pinned wins', () => {
  const text = JSON.stringify({ pinned: [A, A, 'short', 7, null, A.toUpperCase(), `${A}0`], excluded: [A, B, B, '../../etc/passwd'] })
  assert.deepEqual(parse(text), { pinned: [A], excluded: [B] })
})

test('what is written is read again, and nothing is written for nothing', () => {
  assert.equal(format(none), '{}')
  assert.equal(format({ pinned: [A], excluded: [] }), `{"pinned":["${A}"]}`)
  for (const picks of [none, { pinned: [A, B], excluded: [] }, { pinned: [], excluded: [C] }, { pinned: [B, A], excluded: [C] }]) {
    assert.deepEqual(parse(format(picks)), picks)
  }
})

test('a photo is put in, taken out, and never in both lists', () => {
  const pinned = toggle(none, 'pinned', A)
  assert.deepEqual(pinned, { pinned: [A], excluded: [] })
  assert.deepEqual(toggle(pinned, 'pinned', A), none)
  assert.deepEqual(toggle(pinned, 'excluded', A), { pinned: [], excluded: [A] })
  assert.deepEqual(toggle(toggle(pinned, 'pinned', B), 'pinned', A), { pinned: [B], excluded: [] })
  assert.deepEqual(toggle({ pinned: [B], excluded: [A] }, 'pinned', A), { pinned: [B, A], excluded: [] })
})

test('what was given is not changed', () => {
  const picks = Object.freeze({ pinned: Object.freeze([A]), excluded: Object.freeze([B]) })
  toggle(picks, 'pinned', C)
  toggle(picks, 'excluded', A)
  assert.deepEqual(picks, { pinned: [A], excluded: [B] })
})

test('excluded photos stay in sight, once, after what was found', () => {
  const photo = (id, score = 0) => ({ id, score })
  const picks = { pinned: [], excluded: [B, C] }
  assert.deepEqual(shown([photo(A)], [photo(B), photo(A)], picks), [photo(A), photo(B)])
  assert.deepEqual(shown([photo(A), photo(B, 1)], [photo(B, 0)], picks), [photo(A), photo(B, 1)])
  assert.deepEqual(shown([], [photo(A)], picks), [], 'one that is neither found nor excluded goes')
})
