// The few words of the widgets, in the languages of locales/.

const WORDS = {
  en: {
    empty: 'Run the workflow to see which photos fit.',
    none: 'No photo fits. Lower the minimum score, or add photos to the gallery.',
    hint: 'Click to pin, Alt-click to exclude.',
    pinned: 'pinned',
    excluded: 'excluded',
    again: 'run again to apply',
    clear: 'Clear',
    clearTip: 'Unpin and let in all photos',
    content: 'content',
    light: 'light',
    gone: 'not in the index any more',
    help: 'Enter pins, Delete excludes, arrows move',
    placerEmpty: 'Connect two Load Image nodes, or run once, to see the pictures here.',
    placerHint: 'Drag to move, pull the corner to resize.',
    placerHelp: 'Arrows move, plus and minus resize, brackets turn, M mirrors; with Shift in large steps',
    corner: 'Pull to resize',
    linked: 'set by a link'
  },
  zh: {
    empty: '运行工作流后显示合适的照片。',
    none: '没有合适的照片。请降低最低分数,或向图库添加照片。',
    hint: '单击固定,Alt+单击排除。',
    pinned: '已固定',
    excluded: '已排除',
    again: '再次运行以生效',
    clear: '清除',
    clearTip: '取消所有固定和排除',
    content: '内容',
    light: '光照',
    gone: '已不在索引中',
    help: '回车固定,Delete 排除,方向键移动',
    placerEmpty: '连接两个“加载图像”节点,或先运行一次,即可在此看到图像。',
    placerHint: '拖动以移动,拉角点以缩放。',
    placerHelp: '方向键移动,加减号缩放,方括号旋转,M 镜像;按住 Shift 为大步',
    corner: '拉动以缩放',
    linked: '由连线设定'
  }
}

/** The words of a locale such as 'en' or 'zh-TW'; English where there are none. */
export function words(locale) {
  const language = String(locale ?? '').split('-')[0]
  return Object.hasOwn(WORDS, language) ? WORDS[language] : WORDS.en
}
