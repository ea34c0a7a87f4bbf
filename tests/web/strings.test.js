import assert from 'node:assert/strict'
import { test } from 'node:test'
import { words } from '../../web/strings.js'

test('every language has every word', () => {
  const english = words('en')
  const chinese = words('zh')
  assert.deepEqual(Object.keys(chinese).sort(), Object.keys(english).sort())
  for (const [key, word] of [...Object.entries(english), ...Object.entries(chinese)]) assert.ok(word.trim(), key)
  assert.notDeepEqual(english, chinese)
})

test('regions fall back to their language, the unknown to English', () => {
  assert.equal(words('zh-TW'), words('zh'))
  for (const locale of ['fr', '', undefined, null, 'en-GB', 'constructor-x']) assert.equal(words(locale), words('en'), String(locale))
})
